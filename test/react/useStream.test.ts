import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { StartWhen } from 'millrace/react';
import { bundlePage, describeInChromium, launchChromium, openPage, servePage } from '../support/chromium.js';
import { Answering } from './answering.js';

const CUT = /net::ERR_INCOMPLETE_CHUNKED_ENCODING/;

describeInChromium('useStream', () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchChromium();
  });
  afterAll(() => browser.close());

  describe.each([18, 19] as const)('with React %i', (react) => {
    let script: string;
    beforeAll(async () => {
      script = await bundlePage(`import { runPage } from './test/react/streamPage.tsx'; runPage();`, { react });
    });

    async function open({ expectedErrors = [], html }: { expectedErrors?: readonly RegExp[]; html?: string } = {}) {
      const answers = new Answering();
      const server = await servePage({ script, html, routes: answers.routes });
      onTestFinished(() => server.close());
      const page = await openPage(browser, server.url, { expectedErrors });
      await page.waitForFunction(() => 'harness' in window);
      return { page, answers, server };
    }

    /** A component whose stream has been asked for. */
    async function ask(
      kind: Parameters<Window['harness']['show']>[0] = 'events',
      expectedErrors: readonly RegExp[] = [],
    ) {
      const opened = await open({ expectedErrors });
      await show(opened.page, kind);
      await phase(opened.page, 'idle');
      await start(opened.page, 'why');
      return { ...opened, answer: await opened.answers.next() };
    }

    it('shows tokens before the response ends, and where the stream is', async () => {
      const { page, answer } = await ask();
      expect(answer.url).toBe('/answer?why');
      await phase(page, 'connecting');
      answer.head();
      await phase(page, 'waiting');
      answer.write(': thinking of it\n\n');
      await shows(page, '#heartbeat', 'thinking of it 1');
      await phase(page, 'waiting');
      answer.say('The mill ');
      await shows(page, '#text', 'The mill ');
      await phase(page, 'streaming');
      answer.say('turns.');
      await shows(page, '#text', 'The mill turns.');
      answer.finish();
      await phase(page, 'complete');
      await shows(page, '#text', 'The mill turns.');
      expect(await page.getAttribute('section', 'data-finish')).toBe('stop');
      expect(await page.getAttribute('section', 'data-billing')).toBe('ended');
    });

    it('asks once where it starts by itself in StrictMode, which mounts twice', async () => {
      const { page, answers } = await open();
      await show(page, 'events', { strict: true, startWhen: true });
      const answer = await answers.next();
      answer.say('Once.');
      await shows(page, '#text', 'Once.');
      answer.finish();
      await phase(page, 'complete');
      expect(answers.requests.map(({ url }) => url)).toEqual(['/answer?default']);
    });

    it('asks once where an effect starts it in StrictMode', async () => {
      const { page, answers } = await open();
      await show(page, 'effect', { strict: true });
      const answer = await answers.next();
      answer.say('Once.');
      answer.finish();
      await phase(page, 'complete');
      await shows(page, '#text', 'Once.');
      expect(answers.requests.map(({ url }) => url)).toEqual(['/answer?effect']);
    });

    it('aborts the request when the component goes, and shows nothing more', async () => {
      const { page, answer, answers } = await ask();
      answer.say('Half');
      await shows(page, '#text', 'Half');
      const before = await page.evaluate(() => {
        window.harness.clear();
        return window.harness.renders.length;
      });
      await answer.closed;
      // One that has gone starts nothing either.
      await start(page, 'again');
      const after = await afterFrames(page);
      expect(after).toBe(before);
      expect(answers.requests).toHaveLength(1);
    });

    it('aborts in StrictMode as well', async () => {
      const { page, answers } = await open();
      await show(page, 'events', { strict: true, startWhen: true });
      const answer = await answers.next();
      answer.say('Half');
      await shows(page, '#text', 'Half');
      await page.evaluate(() => {
        window.harness.clear();
      });
      await answer.closed;
    });

    it('heals a cut: the text stays while it connects again, and a restart clears it', async () => {
      const { page, answer, answers } = await ask('healing', [CUT]);
      answer.say('The old');
      await shows(page, '#text', 'The old');
      answer.cut();
      await phase(page, 'connecting');
      await shows(page, '#text', 'The old');
      const another = await answers.next();
      another.head();
      await phase(page, 'waiting');
      await shows(page, '#text', 'The old');
      another.say('The new');
      await shows(page, '#text', 'The new');
      expect(await page.getAttribute('section', 'data-restarts')).toBe('1');
      another.say(' answer');
      another.finish();
      await phase(page, 'complete');
      await shows(page, '#text', 'The new answer');
    });

    it('starts when `startWhen` becomes true or another, and only then', async () => {
      const { page, answers } = await open();
      await show(page, 'events', { startWhen: false });
      await phase(page, 'idle');
      await show(page, 'events', { startWhen: true });
      const first = await answers.next();
      first.say('First');
      await shows(page, '#text', 'First');
      // To be rendered again with the same is no change, and to be told to wait stops nothing.
      await show(page, 'events', { startWhen: true });
      await show(page, 'events', { startWhen: false });
      first.say('.');
      await shows(page, '#text', 'First.');
      await show(page, 'events', { startWhen: 'a question' });
      await first.closed;
      const second = await answers.next();
      second.say('Second');
      await shows(page, '#text', 'Second');
      await show(page, 'events', { startWhen: 'another' });
      await second.closed;
      const third = await answers.next();
      third.finish();
      await phase(page, 'complete');
      await show(page, 'events', { startWhen: 'another' });
      await afterFrames(page);
      expect(answers.requests).toHaveLength(3);
    });

    it('ends when the page is left, and shows what came when the reader comes back', async () => {
      const { page, answer, answers, server } = await ask();
      answer.say('Half');
      await shows(page, '#text', 'Half');
      await page.goto(`${server.url}/elsewhere`);
      await answer.closed;
      await page.goBack({ waitUntil: 'commit' });
      await phase(page, 'stopped');
      await shows(page, '#text', 'Half');
      await start(page, 'again');
      const another = await answers.next();
      another.say('Whole');
      another.finish();
      await phase(page, 'complete');
      await shows(page, '#text', 'Whole');
    });

    it('is idle on a server, and is taken over from there', async () => {
      const { page: server } = await open();
      const served = await server.evaluate(() => window.harness.renderOnServer());
      expect(served).toContain('data-phase="idle"');
      const html = `<!doctype html><html lang="en"><head><title>millrace</title><link rel="icon" href="data:,">
        <script type="module" src="/page.js"></script></head><body><main id="root">${served}</main></body></html>`;
      const { page, answers } = await open({ html });
      const answer = await answers.next();
      answer.say('Here');
      await shows(page, '#text', 'Here');
      answer.finish();
      await phase(page, 'complete');
      expect(answers.requests).toHaveLength(1);
    });

    // What follows has nothing to do with how a React mounts, renders and leaves.
    if (react === 18) return;

    it.each(['text', 'call'] as const)('takes %s from the factory as well', async (kind) => {
      const { page, answer } = await ask(kind);
      answer.say('The mill turns.');
      answer.finish();
      await phase(page, 'complete');
      await shows(page, '#text', 'The mill turns.');
    });

    it('aborts before there is an answer', async () => {
      const { page, answer } = await ask();
      await page.evaluate(() => {
        window.harness.clear();
      });
      await answer.closed;
    });

    it('stops on purpose, keeps the text, and tells whether the bill has ended', async () => {
      const { page, answer, answers } = await ask();
      answer.say('Half');
      await shows(page, '#text', 'Half');
      await page.click('text=Stop');
      await phase(page, 'stopped');
      await shows(page, '#text', 'Half');
      await answer.closed;
      // Nobody knows what becomes of the work behind a URL of one's own.
      expect(await page.getAttribute('section', 'data-billing')).toBe('unknown');

      await start(page, 'again');
      const another = await answers.next();
      another.say('Whole');
      another.finish();
      await phase(page, 'complete');
      await shows(page, '#text', 'Whole');
      await page.click('text=Stop'); // there is nothing to stop
      await afterFrames(page);
      await phase(page, 'complete');
    });

    it('asks nothing where it is stopped at once', async () => {
      const { page, answers } = await open();
      await show(page, 'events');
      await phase(page, 'idle');
      await page.evaluate(() => {
        window.harness.start('why');
        window.harness.stop();
      });
      await phase(page, 'stopped');
      expect(await page.getAttribute('section', 'data-billing')).toBe('ended');
      await afterFrames(page);
      expect(answers.requests).toHaveLength(0);
    });

    it('shows nothing after a reset', async () => {
      const { page, answer } = await ask();
      answer.say('Half');
      await shows(page, '#text', 'Half');
      await page.click('text=Reset');
      await phase(page, 'idle');
      await shows(page, '#text', '');
      await answer.closed;
    });

    it('stops the stream before when it starts another, of which nothing shows any more', async () => {
      const { page, answer, answers } = await ask();
      answer.say('First');
      await shows(page, '#text', 'First');
      answer.say(' and late');
      await start(page, 'another');
      await answer.closed;
      const another = await answers.next();
      expect(another.url).toBe('/answer?another');
      another.say('Second');
      await shows(page, '#text', 'Second');
      another.finish();
      await phase(page, 'complete');
      const renders = await page.evaluate(() => window.harness.renders);
      const since = renders.slice(renders.lastIndexOf('connecting:'));
      expect(since.filter((render) => render.includes('First'))).toEqual([]);
      expect(renders).not.toContain('stopped:First');
    });

    it('asks for the last of several starts in one turn', async () => {
      const { page, answers } = await open();
      await show(page, 'events');
      await phase(page, 'idle');
      await page.evaluate(() => {
        window.harness.start('one');
        window.harness.start('two');
      });
      const answer = await answers.next();
      answer.finish();
      await phase(page, 'complete');
      expect(answers.requests.map(({ url }) => url)).toEqual(['/answer?two']);
    });

    it('keeps the text of an answer that was cut, and says so', async () => {
      const { page, answer } = await ask('events', [CUT]);
      answer.say('Half');
      await shows(page, '#text', 'Half');
      answer.cut();
      await phase(page, 'interrupted');
      await shows(page, '#text', 'Half');
      expect(await page.textContent('#error')).toMatch(/^InterruptedError: /);
    });

    it('shows why nothing came', async () => {
      const { page, answer } = await ask('events', [/status of 503/]);
      answer.head(503);
      answer.finish();
      await phase(page, 'failed');
      expect(await page.textContent('#error')).toMatch(/^HTTPError: HTTP 503/);
    });

    it.each([
      ['throwing', 'RangeError: of the factory'],
      ['nothing', 'TypeError: The factory must give an observable or a call, got undefined'],
    ] as const)('shows that the factory failed: %s', async (kind, error) => {
      const { page } = await open();
      await show(page, kind);
      await phase(page, 'idle');
      await start(page, 'why');
      await phase(page, 'failed');
      await shows(page, '#error', error);
    });

    it('is up to date in a page that draws no frames', async () => {
      const { page, answers } = await open();
      await show(page, 'events');
      await phase(page, 'idle');
      await page.evaluate(() => {
        window.requestAnimationFrame = () => 0;
      });
      await start(page, 'why');
      const answer = await answers.next();
      answer.say('The mill');
      await page.waitForSelector('text=The mill');
      answer.say(' turns.');
      answer.finish();
      await phase(page, 'complete');
      expect(await page.textContent('#text')).toBe('The mill turns.');
    });

    it('ends when the component is hidden, keeps what came, and starts anew when it is shown again', async () => {
      const { page, answers } = await open();
      await show(page, 'events', { startWhen: true, hidden: false });
      const first = await answers.next();
      first.say('Half');
      await shows(page, '#text', 'Half');
      await show(page, 'events', { startWhen: true, hidden: true });
      await first.closed;
      await page.waitForSelector('section[data-phase=stopped]', { state: 'hidden' });
      expect(answers.requests).toHaveLength(1);
      await show(page, 'events', { startWhen: true, hidden: false });
      const second = await answers.next();
      second.say('Whole');
      second.finish();
      await phase(page, 'complete');
      await shows(page, '#text', 'Whole');
    });

    it('does not stand in the way of the rest of the page', async () => {
      const { page, answer } = await ask();
      answer.say('One');
      await shows(page, '#text', 'One');
      await page.click('text=Clicked 0');
      await page.waitForSelector('text=Clicked 1');
      answer.say(' two');
      await shows(page, '#text', 'One two');
      answer.finish();
      await phase(page, 'complete');
    });
  });
});

async function show(
  page: Page,
  kind: Parameters<Window['harness']['show']>[0],
  props: { readonly strict?: boolean; readonly startWhen?: StartWhen; readonly hidden?: boolean } = {},
): Promise<void> {
  await page.evaluate(
    ([kind, props]) => {
      window.harness.show(kind, props);
    },
    [kind, props] as const,
  );
}

async function start(page: Page, question: string): Promise<void> {
  await page.evaluate((question) => {
    window.harness.start(question);
  }, question);
}

async function phase(page: Page, name: string): Promise<void> {
  await page.waitForSelector(`section[data-phase=${name}]`);
}

async function shows(page: Page, selector: string, text: string): Promise<void> {
  await page.waitForFunction(([selector, text]) => document.querySelector(selector)?.textContent === text, [
    selector,
    text,
  ] as const);
}

/** How often the page has rendered, once whatever waited for a frame has had it. */
async function afterFrames(page: Page): Promise<number> {
  return page.evaluate(
    () =>
      new Promise<number>((resolve) => {
        requestAnimationFrame(() =>
          requestAnimationFrame(() => {
            resolve(window.harness.renders.length);
          }),
        );
      }),
  );
}
