import { text } from 'node:stream/consumers';
import type { Browser, Page } from 'playwright-core';
import type { Observable, Subscription } from 'rxjs';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { createExchange, type Exchange } from '../../src/testing/exchange.js';
import { Inbox } from '../../src/testing/inbox.js';
import type { Receipt } from '../../src/types.js';
import {
  bundlePage,
  describeInChromium,
  launchChromium,
  openPage,
  type PageServer,
  servePage,
} from '../support/chromium.js';

/** What the program puts into the page for the functions that tests run there. */
interface Shown {
  readonly subscription: Subscription;
  receipt: Receipt | undefined;
  error: { name: string; code?: string; message: string; receipt?: Receipt } | undefined;
}
declare const show: (text: Observable<string>) => Shown;
declare const showAnswer: (options?: { retry?: boolean }) => Shown;
declare const fromAnswer: () => Observable<string>;
declare const shown: Shown;

const PROGRAM = `
  import { decode, fromCall, fromHTTP, parseSSE, retryOnDisconnect, toElement, toTokens } from 'millrace';
  import { chatDialect, openaiCompatible } from 'millrace/providers';

  const element = document.getElementById('root');
  const show = (source) => {
    const shown = { subscription: undefined, receipt: undefined, error: undefined };
    globalThis.shown = shown;
    shown.subscription = source.pipe(toElement(element)).subscribe({
      next: (receipt) => (shown.receipt = receipt),
      error: ({ name, code, message, receipt }) => (shown.error = { name, code, message, receipt }),
    });
    return shown;
  };
  const fromAnswer = () => fromHTTP('/answer').pipe(parseSSE(), decode(chatDialect()), toTokens());
  const api = openaiCompatible({ baseURL: '/v1' });
  const showAnswer = ({ retry = false } = {}) => {
    const events = fromCall(api.chat({ model: 'm', messages: [{ role: 'user', content: 'Hi' }] }));
    return show(retry ? events.pipe(retryOnDisconnect({ delay: { initialMs: 1 } })) : events);
  };
  Object.assign(globalThis, { show, fromAnswer, showAnswer });
  addEventListener('pageshow', ({ persisted }) => (document.title = persisted ? 'kept' : 'loaded'));
`;

/** What Chromium itself writes into the console. */
const CUT = /net::ERR_(INCOMPLETE_CHUNKED_ENCODING|CONNECTION_RESET|EMPTY_RESPONSE)/;

describeInChromium('a page', () => {
  let browser: Browser;
  let script: string;
  beforeAll(async () => {
    [browser, script] = await Promise.all([launchChromium(), bundlePage(PROGRAM)]);
  });
  afterAll(() => browser.close());

  const frame = (delta: object, finish: string | null = null): string =>
    `data: ${JSON.stringify({ object: 'chat.completion.chunk', choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;
  const say = (content: string): string => frame({ content });
  const END = `${frame({}, 'stop')}data: [DONE]\n\n`;

  interface Opened {
    readonly page: Page;
    readonly server: PageServer;
    /** Requests of the page, answered step by step. */
    readonly requests: Inbox<Exchange>;
  }

  async function open({
    expectedErrors,
    head = '',
  }: { expectedErrors?: RegExp[]; head?: string } = {}): Promise<Opened> {
    const requests: Inbox<Exchange> = new Inbox();
    const html = `<!doctype html><html lang="en"><head><title>-</title>${head}<link rel="icon" href="data:," />
      <script type="module" src="/page.js"></script></head><body><main id="root">Waiting</main></body></html>`;
    const server = await servePage({
      script,
      html,
      routes: async (message, response) => {
        if (message.url === '/elsewhere') {
          response.writeHead(200, { 'content-type': 'text/html' }).end('<title>Elsewhere</title>');
          return true;
        }
        if (message.url !== '/answer' && message.url !== '/v1/chat/completions') return false;
        const closed: Promise<void> = new Promise((resolve) =>
          message.socket.once('close', () => {
            resolve();
          }),
        );
        requests.add(createExchange({ message, response, body: await text(message), at: 0, closed }));
        return true;
      },
    });
    onTestFinished(() => server.close());
    const page = await openPage(browser, server.url, { expectedErrors });
    await page.waitForFunction('globalThis.showAnswer && document.title !== "-"');
    return { page, server, requests };
  }

  const shows = (page: Page, text: string): Promise<unknown> =>
    page.waitForFunction((expected) => document.getElementById('root')!.textContent === expected, text);
  /** How what is shown ended. */
  const ended = async (page: Page): Promise<Pick<Shown, 'receipt' | 'error'>> => {
    await page.waitForFunction(() => shown.receipt ?? shown.error);
    return page.evaluate(() => ({ receipt: shown.receipt, error: shown.error }));
  };

  it('shows text before the answer has ended', async () => {
    const { page, requests } = await open();
    await page.evaluate(() => void show(fromAnswer()));
    const answer = await requests.take();
    answer.respond();
    await shows(page, 'Waiting');
    await answer.write(say('The mill'));
    await shows(page, 'The mill');
    await answer.write(say(' turns 🐎'));
    await shows(page, 'The mill turns 🐎');
    expect(answer.gone.aborted).toBe(false);
    await answer.end(END);
    const { receipt } = await ended(page);
    expect(receipt).toMatchObject({ outcome: 'complete', where: 'element', chars: 17, finish: { reason: 'stop' } });
  });

  it('reads a character that the network cuts in two', async () => {
    const { page, requests } = await open();
    await page.evaluate(() => void show(fromAnswer()));
    const answer = await requests.take();
    answer.respond();
    for (const byte of Buffer.from(say('ž🐎'))) await answer.write(Uint8Array.of(byte));
    await shows(page, 'ž🐎');
    await answer.end(END);
    expect((await ended(page)).receipt).toMatchObject({ outcome: 'complete' });
  });

  it('closes the socket when its reader leaves the stream, before the headers and after', async () => {
    const { page, requests } = await open();
    await page.evaluate(() => void showAnswer());
    const early = await requests.take();
    await page.evaluate(() => {
      shown.subscription.unsubscribe();
    });
    expect(await early.ended).toBe('client');
    await page.evaluate(() => void showAnswer());
    const answer = await requests.take();
    await answer.write(say('Half'));
    await shows(page, 'Half');
    await page.evaluate(() => {
      shown.subscription.unsubscribe();
    });
    expect(await answer.ended).toBe('client');
    expect(await page.evaluate(() => [shown.receipt, shown.error])).toEqual([undefined, undefined]);
    await shows(page, 'Half');
  });

  it.each(['reset', 'halfClose'] as const)('is told of a cut by %s, and keeps what came', async (cut) => {
    const { page, requests } = await open({ expectedErrors: [CUT] });
    await page.evaluate(() => void showAnswer());
    const answer = await requests.take();
    await answer.write(say('Half'));
    await shows(page, 'Half');
    answer[cut]();
    const { error, receipt } = await ended(page);
    expect(receipt).toBeUndefined();
    expect(error).toMatchObject({ name: 'InterruptedError', code: 'ERR_INTERRUPTED' });
    expect(error?.receipt).toMatchObject({ outcome: 'interrupted', chars: 4 });
    await shows(page, 'Half');
  });

  it('takes a body that ends without its proof for a cut', async () => {
    const { page, requests } = await open();
    await page.evaluate(() => void showAnswer());
    const answer = await requests.take();
    await answer.write(say('Half'));
    await answer.end();
    expect((await ended(page)).error).toMatchObject({ code: 'ERR_INTERRUPTED' });
    await shows(page, 'Half');
  });

  it('heals a cut with retryOnDisconnect, and shows no text twice', async () => {
    const { page, requests } = await open({ expectedErrors: [CUT] });
    await page.evaluate(() => void showAnswer({ retry: true }));
    const first = await requests.take();
    first.respond();
    first.reset();
    const second = await requests.take();
    await second.write(say('The old'));
    await shows(page, 'The old');
    second.reset();
    const third = await requests.take();
    await third.write(say('The new'));
    await shows(page, 'The new');
    await third.end(END);
    const { receipt } = await ended(page);
    expect(receipt).toMatchObject({ outcome: 'complete', attempts: 3, restarts: 1, chars: 7 });
    await shows(page, 'The new');
  });

  it('is told of a refusal', async () => {
    const { page, requests } = await open({ expectedErrors: [/status of 429/] });
    await page.evaluate(() => void showAnswer());
    const answer = await requests.take();
    answer.respond({ status: 429 });
    await answer.end();
    expect((await ended(page)).error).toMatchObject({ name: 'HTTPError', code: 'ERR_HTTP' });
    await shows(page, 'Waiting');
  });

  it('closes the socket when it is left, and comes back as it was left', async () => {
    const { page, server, requests } = await open();
    await page.evaluate(() => void showAnswer());
    const answer = await requests.take();
    await answer.write(say('Half'));
    await shows(page, 'Half');
    await page.goto(`${server.url}/elsewhere`);
    expect(await answer.ended).toBe('client');
    await page.goBack({ waitUntil: 'commit' });
    await page.waitForFunction(() => document.title === 'kept');
    await shows(page, 'Half');
    expect((await ended(page)).receipt).toMatchObject({ outcome: 'stopped', by: 'reader', chars: 4 });
    await page.evaluate(() => void showAnswer());
    const another = await requests.take();
    await another.write(say('Whole'));
    await another.end(END);
    expect((await ended(page)).receipt).toMatchObject({ outcome: 'complete' });
    await shows(page, 'Whole');
  });

  it('that a browser does not keep closes the socket when it is left, and begins anew', async () => {
    // Such a page is not kept.
    const { page, server, requests } = await open({
      head: `<script>addEventListener('unload', () => undefined);</script>`,
    });
    await page.evaluate(() => void showAnswer());
    const answer = await requests.take();
    await answer.write(say('Half'));
    await shows(page, 'Half');
    await page.goto(`${server.url}/elsewhere`);
    expect(await answer.ended).toBe('client');
    await page.goBack({ waitUntil: 'commit' });
    await page.waitForFunction(() => document.title === 'loaded');
    await shows(page, 'Waiting');
    await page.waitForFunction('globalThis.showAnswer');
    await page.evaluate(() => void showAnswer());
    await (await requests.take()).end(END);
    expect((await ended(page)).receipt).toMatchObject({ outcome: 'complete' });
  });

  it('closes the socket when its tab is closed', async () => {
    const { page, requests } = await open();
    await page.evaluate(() => void showAnswer());
    const answer = await requests.take();
    await answer.write(say('Half'));
    await shows(page, 'Half');
    await page.close();
    expect(await answer.ended).toBe('client');
  });
});
