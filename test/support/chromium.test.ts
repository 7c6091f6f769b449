import { get } from 'node:http';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import {
  bundlePage,
  describeInChromium,
  launchChromium,
  longestTask,
  openPage,
  openTab,
  servePage,
} from './chromium.js';

/** On a machine that does much besides. */
const PATIENT = { timeout: 10_000 };

describeInChromium('the browser harness', () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchChromium();
  });
  afterAll(() => browser.close());

  async function open(program: string, options?: Parameters<typeof bundlePage>[1]) {
    const server = await servePage({ script: await bundlePage(program, options) });
    onTestFinished(() => server.close());
    return openPage(browser, server.url);
  }

  it.each([18, 19] as const)('gives a program React %i, and only that one', async (react) => {
    const page = await open(
      `import { version, useState } from 'react';
       import { version as domVersion } from 'react-dom';
       import { createRoot } from 'react-dom/client';
       function Greeting() {
         const [name] = useState('reader');
         return <p>{name} {version} {domVersion}</p>;
       }
       createRoot(document.getElementById('root')!).render(<Greeting />);`,
      { react },
    );
    const text = await page.locator('p').textContent();
    expect(text).toMatch(new RegExp(`^reader ${String(react)}\\.\\S+ ${String(react)}\\.\\S+$`));
  });

  it("gives a program the library's sources for a browser", async () => {
    const page = await open(
      `import { fromHTTP, toStdout, parseSSE } from 'millrace';
       import { openai } from 'millrace/providers';
       let why = '';
       try { toStdout(); } catch (error) { why = error.message; }
       document.body.textContent = [typeof fromHTTP, typeof parseSSE, typeof openai, process.env.NODE_ENV, why].join(' ');`,
      { define: { 'process.env.NODE_ENV': '"production"' } },
    );
    expect(await page.textContent('body')).toMatch(
      /^function function function production toStdout needs a standard output/,
    );
  });

  it("refuses a program with one of Node's modules in it", async () => {
    await expect(bundlePage(`import { readFileSync } from 'node:fs'; readFileSync('x');`)).rejects.toThrow('node:fs');
  });

  it("serves the test's own routes, and closes what a page holds open", async () => {
    const server = await servePage({
      script: `const body = await fetch('/slow'); document.body.textContent = String(body.status);`,
      routes: ({ url }, response) => {
        if (url !== '/slow') return false;
        response.writeHead(201).flushHeaders();
        return true;
      },
    });
    const page = await openPage(browser, server.url, { expectedErrors: [/net::ERR_INCOMPLETE_CHUNKED_ENCODING/] });
    await page.waitForFunction(() => document.body.textContent === '201');
    expect(server.connections()).toBeGreaterThan(0);
    await server.close();
    expect(server.connections()).toBe(0);
  });

  it('tells what a route threw when the server is closed', async () => {
    const server = await servePage({
      script: '',
      routes: () => {
        throw new Error('a mistake of the test');
      },
    });
    await new Promise((resolve) => get(server.url).on('error', resolve));
    await expect(server.close()).rejects.toThrow(
      expect.objectContaining({ errors: [new Error('a mistake of the test')] }),
    );
  });

  it('keeps the page off the network', async () => {
    const server = await servePage({ script: '' });
    onTestFinished(() => server.close());
    const page = await openPage(browser, server.url, { expectedErrors: [/net::ERR_NAME_NOT_RESOLVED/] });
    const outcome = await page.evaluate(() => fetch('https://example.com/').then(String, String));
    expect(outcome).toBe('TypeError: Failed to fetch');
  });

  it('goes back to a page as users do, which the browser has kept', async () => {
    const server = await servePage({
      script: `addEventListener('pageshow', (event) => { document.title = event.persisted ? 'kept' : 'loaded'; });`,
      routes: ({ url }, response) => {
        if (url !== '/other') return false;
        response.writeHead(200, { 'content-type': 'text/html' }).end('<p>another page</p>');
        return true;
      },
    });
    onTestFinished(() => server.close());
    const page = await openPage(browser, server.url);
    await page.waitForFunction(() => document.title === 'loaded');
    await page.goto(`${server.url}/other`);
    await page.goBack({ waitUntil: 'commit' });
    await page.waitForFunction(() => document.title === 'kept');
  });

  it('measures the longest task of a page', async () => {
    const page = await open(`
      globalThis.work = (ms) => { const until = performance.now() + ms; while (performance.now() < until); return 'done'; };`);
    await page.waitForFunction('globalThis.work');
    const { value, wallMs, cpuMs } = await longestTask(browser, page, () => page.evaluate('work(100)'));
    expect(value).toBe('done');
    expect(wallMs).toBeGreaterThan(99);
    expect(cpuMs).toBeGreaterThan(0);
    expect(cpuMs).toBeLessThan(wallMs + 1);
  });

  it('hides a tab, which has no frames then', async () => {
    const script = `globalThis.frames = 0; const count = () => { frames += 1; requestAnimationFrame(count); }; count();`;
    const server = await servePage({ script });
    onTestFinished(() => server.close());
    const tab = await openTab(browser, server.url);
    await expect.poll(() => tab.evaluate('frames > 2 && document.visibilityState'), PATIENT).toBe('visible');
    await tab.hide();
    await expect.poll(() => tab.evaluate('document.visibilityState'), PATIENT).toBe('hidden');
    const frames = await tab.evaluate('frames');
    await tab.evaluate('new Promise((resolve) => setTimeout(resolve, 100))');
    expect(await tab.evaluate('frames')).toBe(frames);
    await tab.show();
    await expect.poll(() => tab.evaluate(`frames > ${String(frames)}`), PATIENT).toBe(true);
    await expect(tab.evaluate('nothing.here')).rejects.toThrow('nothing is not defined');
  });

  it.fails('fails a test for an error in the console', async () => {
    const page = await open(`console.error('not so good');`);
    await page.waitForLoadState();
  });

  it.fails('fails a test for an exception that nobody caught', async () => {
    const page = await open(`setTimeout(() => { throw new Error('lost'); });`);
    await page.waitForLoadState();
  });
});
