import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { openai } from '../../src/providers/index.js';
import { proxyHandler } from '../../src/sinks/proxyHandler.js';
import { type Exchange, startServer, type TestServer } from '../../src/testing/index.js';
import { bundlePage, describeInChromium, launchChromium, openPage, servePage } from '../support/chromium.js';
import { keysIn, secretKey } from '../support/keys.js';

const PROGRAM = `
import { fromCall, toTokens } from 'millrace';
import { openai } from 'millrace/providers';

document.cookie = 'session=of-the-user; path=/';
const root = document.querySelector('#root');
const remote = openai({ baseURL: '/api/proxy/openai' });
let reading;
window.ask = () => {
  reading = fromCall(remote.chat({ model: 'm', messages: [{ role: 'user', content: 'Hello' }] })).pipe(toTokens()).subscribe({
    next: (token) => root.append(token),
    error: (error) => root.append(' failed: ' + error.status + ' ' + error.providerCode),
    complete: () => root.append(' complete'),
  });
};
window.stop = () => reading.unsubscribe();
window.giveKeys = () => {
  openai({ apiKey: 'key-of-the-tests' });
  openai({ apiKey: 'key-of-the-tests' });
};
`;

const frame = (content: string): string =>
  `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content } }] })}\n\n`;
const END = `data: ${JSON.stringify({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] })}\n\ndata: [DONE]\n\n`;

describeInChromium('proxyHandler, and a page of its server', () => {
  let browser: Browser;
  let script: string;
  beforeAll(async () => {
    [browser, script] = await Promise.all([launchChromium(), bundlePage(PROGRAM)]);
  });
  afterAll(() => browser.close());

  async function open(
    expectedErrors: readonly RegExp[] = [],
  ): Promise<{ page: Page; upstream: TestServer; key: string }> {
    const upstream = await startServer();
    onTestFinished(() => upstream.close());
    const key = secretKey();
    const proxy = proxyHandler({
      providers: { openai: openai({ apiKey: key, baseURL: upstream.url }) },
      allow: ['POST /openai/chat/completions'],
      mountPath: '/api/proxy',
      authorize: ({ headers }) => headers.get('cookie') === 'session=of-the-user',
      onError: () => undefined, // the page shows it
    });
    const server = await servePage({
      script,
      routes: async (request, response) => {
        if (request.url?.startsWith('/api/proxy/') !== true) return false;
        await proxy.node(request, response);
        return true;
      },
    });
    onTestFinished(() => server.close());
    return { page: await openPage(browser, server.url, { expectedErrors }), upstream, key };
  }

  const shows = async (page: Page, text: string): Promise<void> => {
    await page.waitForFunction((wanted) => document.querySelector('#root')?.textContent === wanted, text);
  };

  async function ask(page: Page, upstream: TestServer): Promise<Exchange> {
    await page.evaluate('ask()');
    return upstream.accept();
  }

  it('gives it each token as it comes, for its user’s cookie and without the key', async () => {
    const { page, upstream, key } = await open();
    const answered = page.waitForResponse(/\/api\/proxy\//);
    const exchange = await ask(page, upstream);
    expect(exchange.request.headers.authorization).toBe(`Bearer ${key}`);
    expect(exchange.request.headers).not.toHaveProperty('cookie');
    await exchange.write(frame('Riv'));
    await shows(page, 'Riv');
    await exchange.write(frame('ers'));
    await shows(page, 'Rivers');
    await exchange.end(END);
    await shows(page, 'Rivers complete');
    const seen = JSON.stringify([await (await answered).allHeaders(), await page.content()]);
    expect(seen).toContain('text/event-stream');
    expect(keysIn(seen)).toEqual([]);
  });

  it('ends the provider’s request when it stops, and when it is closed', async () => {
    const { page, upstream } = await open();
    for (const leave of [() => page.evaluate('stop()'), () => page.close()]) {
      const exchange = await ask(page, upstream);
      await exchange.write(frame('Riv'));
      await page.waitForFunction(() => document.querySelector('#root')?.textContent.endsWith('Riv'));
      await leave();
      expect(await exchange.ended).toBe('client');
    }
  });

  it('tells it why it is refused', async () => {
    const { page, upstream } = await open([/status of 401/, /status of 429/]);
    const exchange = await ask(page, upstream);
    exchange.respond({ status: 429, headers: { 'content-type': 'application/json' } });
    await exchange.end('{"error":{"code":"rate_limited"}}');
    await shows(page, ' failed: 429 rate_limited');
    await page.evaluate(
      `document.cookie = 'session=of-nobody; path=/'; document.querySelector('#root').textContent = ''; ask()`,
    );
    await shows(page, ' failed: 401 unauthorized');
  });

  it('which is warned, once, of a key that it is given', async () => {
    const { page } = await open();
    const warnings: string[] = [];
    page.on('console', (message) => {
      if (message.type() === 'warning') warnings.push(message.text());
    });
    await page.evaluate('giveKeys()');
    expect(warnings).toEqual([expect.stringContaining('proxyHandler')]);
    expect(warnings[0]).not.toContain('key-of-the-tests');
  });
});
