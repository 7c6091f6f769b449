import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import process from 'node:process';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { Result } from 'axe-core';
import type { Browser, Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CHAT_ANSWERS, SURVEY_REPORT, VOICES } from '../../examples/web/server/answers.js';
import { describeInChromium, launchChromium, openPage } from '../support/chromium.js';

/** `MILLRACE_SCREENSHOTS=write` makes the pictures in the docs anew, at a pace at which they can be taken. */
const isWriting = process.env['MILLRACE_SCREENSHOTS'] === 'write';
const PACE_MS = isWriting ? 26 : 2;
/** The page is built first, on a machine that other tests use as well. */
const START_MS = 60_000;
const root = fileURLToPath(new URL('../..', import.meta.url));

/** The example as its command starts it, and what it says. */
class Example {
  readonly lines: string[] = [];
  readonly #process: ChildProcessByStdio<null, Readable, Readable>;
  readonly #heard = new EventTarget();
  readonly #exited: Promise<unknown[]>;
  stderr = '';

  constructor() {
    const args = ['examples/web/start.mjs', '--port', '0', '--pace', String(PACE_MS)];
    // Nothing of the environment of the test run, and the React that complains in the console.
    const { PATH, HOME } = process.env;
    const env = { PATH, HOME, NODE_ENV: 'development' };
    this.#process = spawn(process.execPath, args, {
      cwd: root,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#exited = once(this.#process, 'exit');
    createInterface(this.#process.stdout).on('line', (line) => {
      this.lines.push(line);
      this.#heard.dispatchEvent(new Event('line'));
    });
    this.#process.stderr.on('data', (data) => {
      this.stderr += String(data);
    });
  }

  /** Resolves with the first line from `from` on that fits, waiting for it. */
  async says(pattern: RegExp, from = 0): Promise<string> {
    for (;;) {
      const said = this.lines.slice(from).find((line) => pattern.test(line));
      if (said !== undefined) return said;
      const exit = this.#exited.then(() => {
        throw new Error(`The example ended and never said ${String(pattern)}:\n${this.stderr}`);
      });
      await Promise.race([once(this.#heard, 'line'), exit]);
    }
  }

  async url(): Promise<string> {
    const said = await this.says(/http:/);
    return /http:\S+/.exec(said)?.[0] ?? '';
  }

  /** As Ctrl-C does. @returns its exit code */
  async interrupt(): Promise<unknown> {
    this.#process.kill('SIGINT');
    const [code] = await this.#exited;
    return code;
  }
}

describeInChromium('examples/web', () => {
  let example: Example;
  let browser: Browser;
  let url: string;

  beforeAll(async () => {
    example = new Example();
    [browser, url] = await Promise.all([launchChromium(), example.url()]);
  }, START_MS);

  afterAll(async () => {
    await browser.close();
    const code = await example.interrupt();
    expect({ code, stderr: example.stderr }).toEqual({ code: 0, stderr: '' });
  });

  /** A page in which nothing moves by itself. */
  async function open(): Promise<Page> {
    const page = await openPage(browser, url);
    await page.emulateMedia({ reducedMotion: 'reduce', colorScheme: 'light' });
    await page.setViewportSize({ width: 1200, height: 760 });
    page.setDefaultTimeout(15_000);
    return page;
  }

  describe('the chat', () => {
    it('shows words before the answer ends, and its stop button closes the socket at the provider', async () => {
      const page = await open();
      const before = example.lines.length;
      await ask(page, 'Tell me everything');
      await page.locator('.answer[data-phase=streaming] .prose').waitFor();
      await page.getByRole('button', { name: 'Stop' }).click();
      await example.says(/\/tasks\/task_\d+\/stream: its reader left/, before);
      await example.says(/\/tasks\/task_\d+\/cancel: answered/, before);
      await example.says(/\/api\/chat: stopped by reader/, before);
      await page.getByText('You stopped reading here.').waitFor();
      expect(await textOf(page.locator('.answer .prose'))).not.toBe('');
    });

    it('says that a connection is lost, goes on, and has every word of the answer once', async () => {
      const page = await open();
      await page.evaluate(watchAnswer);
      await page.getByText('is cut, and heals').click();
      await ask(page, 'Why do rivers meander?');
      await page.getByText('went on after a lost connection').waitFor();
      const { notices, shrank } = await page.evaluate(() => (globalThis as unknown as Watched).watched);
      expect(notices).toEqual(['Connection lost, going on …']);
      expect(shrank).toBe(false);
      expect(await textOf(page.locator('.answer .prose'))).toBe(plain(CHAT_ANSWERS[1]?.text));
      expect(await page.locator('.notice').count()).toBe(0);
    });

    it('keeps and marks what came of an answer that failed, and asks again', async () => {
      const page = await open();
      await page.getByText('fails', { exact: true }).click();
      await ask(page, 'Which wheel is the best one?');
      await page.getByText('The service failed. What had come is kept.').waitFor();
      const kept = await textOf(page.locator('.answer .prose'));
      expect(kept).not.toBe('');
      expect(plain(CHAT_ANSWERS[2]?.text).startsWith(kept.trimEnd())).toBe(true);
      await page.getByRole('button', { name: 'Ask again' }).click();
      expect(await focused(page)).toBe('Conversation');
      await page.locator('.answer[data-phase=complete]').waitFor();
      expect(await textOf(page.locator('.answer .prose'))).toBe(plain(CHAT_ANSWERS[2]?.text));
      expect(await page.locator('.question').count()).toBe(1);
    });
  });

  describe('the task', () => {
    it('shows its states, how far it is, its log and its report, and where it failed', async () => {
      const page = await open();
      await page.getByRole('tab', { name: 'Task' }).click();
      await page.getByText('fails half way').click();
      await page.getByRole('button', { name: 'Start the survey' }).click();
      await page.getByText('The service failed. What had come is kept.').waitFor();
      expect(await page.locator('.steps [data-state=broken]').textContent()).toContain('Walk');
      expect(await page.locator('.lines p').count()).toBeGreaterThan(3);

      await page.getByRole('button', { name: 'Ask again' }).click();
      await page.locator('.steps [aria-current=step]', { hasText: 'Walk' }).waitFor();
      const bar = page.getByRole('progressbar');
      await page.locator('[role=progressbar][aria-valuenow="12"]').waitFor();
      expect(await bar.getAttribute('aria-valuetext')).toBe('reach 12 of 12: head of the wheel');
      await page.locator('.report[data-phase=complete]').waitFor();
      expect(await textOf(page.locator('.report .prose'))).toBe(plain(SURVEY_REPORT));
      expect(await page.locator('.lines p').last().textContent()).toBe('reach 12: 214 litres a second at the gate');
      expect(await page.locator('.steps [data-state=done]').count()).toBe(5);
    });
  });

  describe('the three voices', () => {
    it('says which one failed, while the others come to their end', async () => {
      const page = await open();
      await page.getByRole('tab', { name: 'Three voices' }).click();
      await page.getByRole('button', { name: 'Ask all three' }).click();
      const [first, second, third] = ['Overshot', 'Breastshot', 'Undershot'].map((name) =>
        page.getByRole('article', { name }),
      ) as [Locator, Locator, Locator];
      await second.getByText('What had come is kept.').waitFor();
      for (const card of [first, third]) await card.getByText('complete').first().waitFor();
      expect(await textOf(first.locator('.prose'))).toBe(plain(VOICES.overshot));
      expect(await textOf(third.locator('.prose'))).toBe(plain(VOICES.undershot));
      expect(plain(VOICES.breastshot).startsWith(await textOf(second.locator('.prose')))).toBe(true);
      await second.getByRole('button', { name: 'Ask again' }).click();
      await second.getByText('complete').first().waitFor();
      expect(await textOf(second.locator('.prose'))).toBe(plain(VOICES.breastshot));
    });
  });

  it('is used without a mouse', async () => {
    const page = await open();
    await page.keyboard.press('Tab');
    expect(await focused(page)).toBe('Chat');
    const ring = await page.evaluate(() => getComputedStyle(document.activeElement ?? document.body).outlineStyle);
    expect(ring).toBe('solid');
    await page.keyboard.press('ArrowRight');
    await page.getByRole('tabpanel', { name: 'Task' }).waitFor();
    await page.keyboard.press('End');
    expect(await focused(page)).toBe('Three voices');
    await page.keyboard.press('ArrowRight');
    expect(await focused(page)).toBe('Chat');

    await page.keyboard.press('Tab');
    expect(await focused(page)).toBe('Dark colours');
    await page.keyboard.press('Space');
    await page.locator('html[data-theme=dark]').waitFor();

    await tabTo(page, 'Your question');
    await page.keyboard.type('Tell me everything');
    await page.keyboard.press('Shift+Enter');
    await page.keyboard.type('please');
    await page.keyboard.press('Enter');
    expect(await page.locator('.question').textContent()).toBe('Tell me everything\nplease');
    await page.locator('.answer[data-phase=streaming] .prose').waitFor();
    await page.keyboard.press('Escape');
    await page.getByText('You stopped reading here.').waitFor();
    expect(await focused(page)).toBe('Your question');

    await page.keyboard.press('Shift+Tab');
    expect(await focused(page)).toBe('What he thought first');
    await page.keyboard.press('Enter');
    await page.locator('.thinking[open]').waitFor();
  });

  it('has no fault that axe knows of, in the light and in the dark', async () => {
    const page = await open();
    await page.getByText('fails', { exact: true }).click();
    await ask(page, 'What is a millrace?');
    await page.getByText('What had come is kept.').waitFor();
    await page.locator('.thinking summary').click();
    await page.getByRole('tab', { name: 'Three voices' }).click();
    await page.getByRole('button', { name: 'Ask all three' }).click();
    await page.getByRole('tab', { name: 'Task' }).click();
    await page.getByRole('button', { name: 'Start the survey' }).click();
    await page.locator('.report[data-phase=complete]').waitFor();
    await page.waitForFunction(() => document.querySelectorAll('.card .facts').length === 3);
    await page.evaluate(await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8'));
    for (const tab of ['Task', 'Three voices', 'Chat']) {
      await page.getByRole('tab', { name: tab }).click();
      for (const colorScheme of ['light', 'dark'] as const) {
        await page.emulateMedia({ reducedMotion: 'reduce', colorScheme });
        expect({ tab, colorScheme, faults: await faultsOf(page) }).toEqual({ tab, colorScheme, faults: [] });
      }
    }
  });

  it('fits a narrow page', async () => {
    const page = await open();
    await page.setViewportSize({ width: 320, height: 640 });
    for (const tab of ['Chat', 'Task', 'Three voices']) {
      await page.getByRole('tab', { name: tab }).click();
      const tooWide = await page.evaluate(() =>
        [...document.querySelectorAll('html, main, .panel:not([hidden]), .log')]
          .filter(({ scrollWidth, clientWidth }) => scrollWidth > clientWidth)
          .map(({ className, localName }) => `${localName} ${className}`),
      );
      expect({ tab, tooWide }).toEqual({ tab, tooWide: [] });
    }
  });

  if (isWriting) {
    it('is as the pictures show it', { timeout: 120_000 }, async () => {
      const page = await open();
      const picture = (name: string) =>
        page.screenshot({ path: `${root}docs/images/${name}.png`, animations: 'disabled' });
      await page.getByText('is cut, and heals').click();
      await ask(page, 'Why do rivers meander?');
      await page.getByText('Connection lost').first().waitFor();
      await picture('web-chat');
      await page.getByRole('tab', { name: 'Task' }).click();
      await page.getByRole('button', { name: 'Start the survey' }).click();
      await page.locator('.report .prose li, .report .prose p:nth-child(2)').first().waitFor();
      await picture('web-task');
      await page.getByRole('tab', { name: 'Three voices' }).click();
      await page.getByRole('button', { name: 'Ask all three' }).click();
      await page.locator('.card[data-phase=failed]').waitFor();
      await picture('web-streams');

      await page.reload();
      await page.emulateMedia({ reducedMotion: 'reduce', colorScheme: 'dark' });
      await ask(page, 'What is a millrace?');
      await page.locator('.thinking summary').click();
      await page.locator('.answer[data-phase=complete]').waitFor();
      await picture('web-dark');
    });
  }
});

async function ask(page: Page, question: string): Promise<void> {
  await page.getByLabel('Your question').fill(question);
  await page.keyboard.press('Enter');
}

/** The name of what has the focus, as it is read out. */
function focused(page: Page): Promise<string> {
  return page.evaluate(() => {
    const { activeElement: element } = document;
    if (element instanceof HTMLTextAreaElement) return element.labels[0]?.textContent ?? '';
    return element?.getAttribute('aria-label') ?? element?.textContent ?? '';
  });
}

async function tabTo(page: Page, name: string): Promise<void> {
  for (let steps = 0; steps < 20 && (await focused(page)) !== name; steps += 1) await page.keyboard.press('Tab');
  expect(await focused(page)).toBe(name);
}

/** What watches an answer from inside the page, where nothing is missed. */
interface Watched {
  watched: { readonly notices: string[]; shrank: boolean };
}

function watchAnswer(): void {
  const watched = { notices: [] as string[], shrank: false };
  (globalThis as unknown as Watched).watched = watched;
  let chars = 0;
  new MutationObserver(() => {
    const notice = document.querySelector('.notice')?.textContent;
    if (notice !== undefined && notice !== null && !watched.notices.includes(notice)) watched.notices.push(notice);
    const now = document.querySelector('.answer .prose')?.textContent.length ?? 0;
    // Two stars become one emphasis when they are closed.
    if (now < chars - 4) watched.shrank = true;
    chars = now;
  }).observe(document.body, { subtree: true, childList: true, characterData: true });
}

async function textOf(prose: Locator): Promise<string> {
  return (await prose.textContent()) ?? '';
}

/** A text as the page shows it: its marks have become elements. */
function plain(text = ''): string {
  return text.replaceAll(/\*+|\n+(?:- )?/g, '');
}

/** What axe finds wrong, and where. */
async function faultsOf(page: Page): Promise<string[]> {
  return page.evaluate(async () => {
    const { axe } = globalThis as unknown as { axe: { run(): Promise<{ violations: Result[] }> } };
    const { violations } = await axe.run();
    return violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html.slice(0, 200)}`));
  });
}
