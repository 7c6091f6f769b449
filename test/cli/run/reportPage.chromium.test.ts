import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Result } from 'axe-core';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import type { FileJob } from '../../../src/cli/run/fileJob.js';
import { reportPage } from '../../../src/cli/run/reportPage.js';
import { runReport, type ReportedRun } from '../../../src/cli/run/runReport.js';
import type { JobReceipt } from '../../../src/sources/jobReceipt.js';
import { describeInChromium, launchChromium, longestTask } from '../../support/chromium.js';
import { failure, job, receiptOf } from './fixtures.js';

const STARTED = Date.UTC(2026, 0, 2, 3, 4, 5);
const RUN: ReportedRun = { folder: '/home/me/book', startedAt: STARTED, endedAt: STARTED + 600_000 };

/** A run with every outcome in it; its times are of a kind that a person may see. */
function story(count: number): readonly [FileJob[], JobReceipt<FileJob>[]] {
  const jobs = Array.from({ length: count }, (_, n) =>
    job(`chapter-${String(n + 1)}`, { out: `part 1/${String(n + 1)}.md` }),
  );
  const receipts = jobs.slice(0, -1).map((one, n) => {
    const startedAt = STARTED + (n * 600_000) / count;
    const firstContentMs = 200 + ((n * 7919) % 900);
    const timings = { startedAt, firstContentMs, totalMs: firstContentMs + 1_000 + ((n * 104_729) % 20_000) };
    if (n % 10 === 3)
      return receiptOf(one, {
        ...failure('HTTP 429: too many requests'),
        timings: { startedAt, totalMs: 900 },
        where: 'none',
        chars: 0,
        usage: { provenance: 'unknown' },
      });
    if (n % 25 === 4)
      return receiptOf(one, {
        outcome: 'interrupted',
        error: { name: 'InterruptedError', code: 'ERR_INTERRUPTED', message: 'cut' },
        timings,
      });
    if (n % 25 === 5) return receiptOf(one, { outcome: 'stopped', by: 'signal', timings });
    if (n % 25 === 6) return receiptOf(one, { finish: { reason: 'length' }, where: `${one.out}.partial`, timings });
    return receiptOf(one, { timings, runs: (n % 9) + 1, ...(n % 7 === 0 && { skipped: true as const }) });
  });
  return [jobs, receipts];
}

describeInChromium('the page of a report', () => {
  let browser: Browser;
  let folder: string;
  beforeAll(async () => {
    browser = await launchChromium();
    folder = await mkdtemp(join(tmpdir(), 'millrace-report-'));
  });
  afterAll(async () => {
    await browser.close();
    await rm(folder, { recursive: true });
  });

  /** Opens the page from a file, as a user does. The test fails for any request besides it, and any error in its console. */
  async function open(
    [jobs, receipts]: ReturnType<typeof story>,
    options: BrowserContextOptions = {},
    run: ReportedRun = RUN,
  ): Promise<Page> {
    const file = join(folder, 'report.html');
    await writeFile(file, reportPage(runReport(jobs, receipts, run)));
    const context = await browser.newContext({ timezoneId: 'UTC', locale: 'en-GB', ...options });
    const problems: string[] = [];
    onTestFinished(async () => {
      await context.close();
      expect(problems).toEqual([]);
    });
    const page = await context.newPage();
    const url = pathToFileURL(file).href;
    page.on('request', (request) => {
      if (request.url() !== url && !request.url().startsWith('data:')) problems.push(request.url());
    });
    page.on('console', (message) => {
      problems.push(message.text());
    });
    page.on('pageerror', (error) => {
      problems.push(error.message);
    });
    await page.goto(url);
    return page;
  }

  const ids = (page: Page): Promise<string[]> => page.locator('#rows .id').allTextContents();

  /** Pixels of a chart that have something on them. */
  const inked = (page: Page, chart: string): Promise<number> =>
    page.locator(`#${chart} canvas`).evaluate((canvas: HTMLCanvasElement) => {
      const { data } = canvas.getContext('2d')?.getImageData(0, 0, canvas.width, canvas.height) ?? { data: [] };
      let count = 0;
      for (let at = 3; at < data.length; at += 4) if ((data[at] ?? 0) > 0) count += 1;
      return count;
    });

  it('shows what came of it, what it took, why jobs failed, how fast they were, and all of them', async () => {
    const page = await open(story(50));
    expect(await page.title()).toBe('38 of 50 jobs complete · book · millrace');
    expect(await page.locator('h1').innerText()).toBe('38 of 50 jobs complete');
    expect(await page.locator('.verdict').innerText()).toBe(
      '2 withheld, 5 failed, 2 interrupted, 2 stopped, 1 pending',
    );
    expect(await page.locator('.reasons li').allInnerTexts()).toContain('5× ERR_HTTP HTTP 429: too many requests');
    expect((await page.locator('.tile').allInnerTexts()).map((tile) => tile.split('\n').slice(0, 2))).toContainEqual([
      'First content',
      expect.stringMatching(/^0\.\d\d s$/),
    ]);
    expect(await inked(page, 'times')).toBeGreaterThan(1_000);
    expect(await inked(page, 'shares')).toBeGreaterThan(1_000);
    expect(
      await page
        .getByRole('img', { name: /A dot for each job of this run: first content within 0\.\d\d s for half/ })
        .count(),
    ).toBe(1);
    expect(await ids(page)).toHaveLength(50);
    expect(await page.locator('#rows a').first().getAttribute('href')).toBe('./part%201/1.md');
  });

  it('finds, filters and sorts jobs', async () => {
    const page = await open(story(250));
    expect(await page.locator('#count').innerText()).toBe('100 of 250 jobs');
    await page.getByRole('button', { name: 'Show all' }).click();
    expect(await ids(page)).toHaveLength(250);
    expect(await page.getByRole('button', { name: 'Show all' }).isHidden()).toBe(true);

    await page.getByRole('button', { name: 'Total' }).click();
    expect(await page.locator('th[aria-sort]').getAttribute('aria-sort')).toBe('descending');
    const slowest = await page.locator('#rows tr').first().innerText();
    await page.getByRole('button', { name: 'Total' }).click();
    expect(await page.locator('th[aria-sort]').getAttribute('aria-sort')).toBe('ascending');
    expect(await page.locator('#rows tr').first().innerText()).not.toBe(slowest);
    // What is not known is last, whichever way.
    expect(await page.locator('#rows tr').last().innerText()).toContain('pending');

    await page.getByRole('button', { name: /^failed 25/ }).click();
    expect(await page.locator('#count').innerText()).toBe('25 of 25 jobs');
    await page.getByLabel('Find').fill('429 chapter-104');
    expect(await ids(page)).toEqual(['chapter-104']);
    await page.getByLabel('Find').fill('nothing like it');
    expect(await page.locator('#count').innerText()).toBe('No job is like that.');
  });

  it('tells of a dot that is pointed at, and shows its job', async () => {
    const page = await open(story(50));
    const over = page.locator('#times .u-over');
    await over.hover({ position: { x: 200, y: 60 } });
    const tip = await page.locator('#times .tip').innerText();
    expect(tip).toMatch(/^chapter-\d+: \w+, first content /);
    await over.click({ position: { x: 200, y: 60 } });
    expect(await page.getByLabel('Find').inputValue()).toBe(tip.split(':')[0]);
  });

  it('runs nothing that stands in a name or an error, and shows it as it is', async () => {
    const evil = [
      '</script><script>document.title="evil"</script>',
      '<!--<script>',
      '"><img src=x onerror="document.title=`evil`">',
      '\u2028\u2029 & &amp; \u202e ${1} `',
      'javascript:document.title="evil"',
      '__proto__',
    ];
    const jobs = evil.map((id, n) =>
      job(id, {
        out: n === 4 ? `${id}.md` : `${String(n)}<i>'".md`,
        options: { provider: 'polargrid', mode: 'chat', model: id },
      }),
    );
    const page = await open(
      [
        jobs,
        jobs.map((one, n) =>
          n === 4
            ? receiptOf(one)
            : receiptOf(one, {
                ...failure(evil[n] ?? '', evil[n]),
                usage: { provenance: 'reported', cost: { total: 1, currency: evil[n] ?? '' } },
              }),
        ),
      ],
      {},
      { ...RUN, folder: `/a/${evil[0] ?? ''}`, stopped: evil[2] ?? '' },
    );
    expect(await page.title()).not.toBe('evil');
    expect(await ids(page)).toEqual(evil);
    expect(await page.locator('img, i').count()).toBe(0);
    const links = await page
      .locator('#rows a')
      .evaluateAll((all) => all.map((link) => (link as HTMLAnchorElement).protocol));
    expect(new Set(links)).toEqual(new Set(['file:']));
    expect(await page.locator('.when').innerText()).toContain('<img src=x');
  });

  it.each(['light', 'dark'] as const)('has no fault that axe knows of, in the %s', async (colorScheme) => {
    for (const size of [
      { width: 1_280, height: 900 },
      { width: 360, height: 700 },
    ]) {
      const page = await open(story(60), { colorScheme, viewport: size });
      // Its policy lets no other script in but from outside of it.
      await page.evaluate(await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8'));
      const violations = await page.evaluate(async () => {
        // What the line before has made.
        const { axe } = globalThis as unknown as { axe: { run(): Promise<{ violations: Result[] }> } };
        const { violations } = await axe.run();
        return violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html).slice(0, 3)]);
      });
      expect(violations).toEqual([]);
      expect(await page.evaluate('document.documentElement.scrollWidth - innerWidth')).toBeLessThanOrEqual(0);
    }
  });

  it('opens ten thousand jobs in about a second', async () => {
    const file = join(folder, 'large.html');
    const [jobs, receipts] = story(10_000);
    await writeFile(file, reportPage(runReport(jobs, receipts, RUN)));
    const page = await browser.newPage();
    onTestFinished(() => page.close());
    const { cpuMs } = await longestTask(browser, page, async () => {
      await page.goto(pathToFileURL(file).href);
      await page.locator('#rows tr').nth(99).waitFor();
    });
    expect(cpuMs).toBeLessThan(1_500);
    // All of them at once would keep the browser busy for seconds.
    expect(await page.getByRole('button', { name: 'Show all' }).count()).toBe(0);
    await page.getByRole('button', { name: 'Show 500 more' }).click();
    expect(await page.locator('#rows tr').count()).toBe(600);
  });

  it('is whole where nothing was timed, and where there are no jobs', async () => {
    const jobs = [job('a'), job('b')];
    const page = await open([jobs, []]);
    expect(await page.locator('h1').innerText()).toBe('0 of 2 jobs complete');
    expect(await page.locator('canvas').count()).toBe(0);
    const empty = await open([[], []]);
    expect(await empty.locator('.verdict').innerText()).toBe('Every answer is there.');
    const before = await open([jobs, jobs.map((one) => receiptOf(one, { skipped: true }))]);
    expect(await before.locator('canvas').count()).toBe(1);
  });
});
