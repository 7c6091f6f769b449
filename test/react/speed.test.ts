import type { ServerResponse } from 'node:http';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { bundlePage, describeInChromium, launchChromium, openPage, servePage } from '../support/chromium.js';
import { chatFrame } from './answering.js';

const TOKENS_PER_SECOND = 10_000;
const SECONDS = 3;
const TICK_MS = 10;

describeInChromium('a page with 10,000 tokens a second', () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchChromium();
  });
  afterAll(() => browser.close());

  it.each([18, 19] as const)('shows them all, with React %i', { timeout: 60_000 }, async (react) => {
    const script = await bundlePage(`import { runSpeedPage } from './test/react/speedPage.tsx'; runSpeedPage();`, {
      react,
      define: { 'process.env.NODE_ENV': '"production"' },
    });
    const server = await servePage({
      script,
      routes: ({ url }, response) => {
        if (url !== '/answer') return false;
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        flood(response);
        return true;
      },
    });
    onTestFinished(() => server.close());
    const page = await openPage(browser, server.url);
    await page.waitForSelector('section[data-phase=complete]', { timeout: 50_000 });
    const measured = await page.evaluate(() => window.measured());
    const { chars, renders, frames, longTasks, medianGap, longestGap, longestTurn } = measured;
    const ms = (time: number): string => `${time.toFixed(1)} ms`;
    const tasks = longTasks.length === 0 ? 'none' : longTasks.map(ms).join(', ');
    console.log(
      [
        `React ${String(react)}: ${String(TOKENS_PER_SECOND * SECONDS)} tokens in about ${String(SECONDS)} s`,
        `${String(renders)} renders in ${String(frames)} frames, ${ms(medianGap)} apart, at most ${ms(longestGap)}`,
        `at most ${ms(longestTurn)} from turn to turn, tasks of 50 ms and more: ${tasks}`,
      ].join('; '),
    );
    const tokens = Array.from({ length: TOKENS_PER_SECOND * SECONDS }, (_, at) => token(at));
    expect(chars).toBe(tokens.join('').replaceAll('\n\n', '').length);
    // Batched: however many tokens a frame brings, it is rendered once.
    expect(renders).toBeLessThan(TOKENS_PER_SECOND);
  });
});

/** Sends an answer at its pace, whatever the timer's. */
function flood(response: ServerResponse): void {
  const total = TOKENS_PER_SECOND * SECONDS;
  const beganAt = performance.now();
  let sent = 0;
  const timer = setInterval(() => {
    const due = Math.min(total, Math.floor(((performance.now() - beganAt) / 1_000) * TOKENS_PER_SECOND));
    let frames = '';
    for (; sent < due; sent += 1) frames += chatFrame({ content: token(sent) });
    response.write(frames);
    if (sent < total) return;
    clearInterval(timer);
    response.end(`${chatFrame({}, 'stop')}data: [DONE]\n\n`);
  }, TICK_MS);
  response.once('close', () => {
    clearInterval(timer);
  });
}

/** A word, and now and then a paragraph's end. */
function token(at: number): string {
  return at % 120 === 119 ? '.\n\n' : ` mill${String(at % 7)}`;
}
