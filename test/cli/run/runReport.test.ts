import * as fc from 'fast-check';
import picocolors from 'picocolors';
import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { failedJobs } from '../../../src/cli/run/failedJobs.js';
import { readJobs } from '../../../src/cli/run/readJobs.js';
import { runReport } from '../../../src/cli/run/runReport.js';
import { runTable } from '../../../src/cli/run/runTable.js';
import { widthOf } from '../../../src/internal/textWidth.js';
import { failure, job, receiptOf } from './fixtures.js';

const RUN = { folder: 'answers', startedAt: Date.UTC(2026, 0, 2, 3, 4, 5), endedAt: Date.UTC(2026, 0, 2, 3, 5, 5) };
const noColors = picocolors.createColors(false);
// eslint-disable-next-line no-control-regex -- control characters are what it looks for
const CONTROL = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]|(?![\u200c\u200d])\p{Cf}/u;

describe('the report of a run', () => {
  it('tells of each job in the order of the file what became of it', () => {
    const [a, b, c, d, e] = ['a', 'b', 'c', 'd', 'deep/e'].map((id) => job(id)) as [
      ReturnType<typeof job>,
      ReturnType<typeof job>,
      ReturnType<typeof job>,
      ReturnType<typeof job>,
      ReturnType<typeof job>,
    ];
    const report = runReport(
      [a, b, c, d, e],
      [
        receiptOf(e, { where: '/real/answers/deep/e.md.partial', finish: { reason: 'length' }, runs: 2, attempts: 3 }),
        receiptOf(b, { ...failure('HTTP 500'), where: 'none', chars: 0, bytes: 0, usage: { provenance: 'unknown' } }),
        receiptOf(a, { skipped: true, requestIds: ['r1'] }),
        receiptOf(d, {
          outcome: 'stopped',
          by: 'signal',
          usage: { provenance: 'partial', outputTokens: 3 },
          warnings: [
            { type: 'warning', code: 'w', message: 'a prompt?' },
            { type: 'warning', code: 'w', message: 'a prompt?' },
          ],
        }),
      ],
      { ...RUN, stopped: 'Ctrl-C' },
    );
    expect(report).toMatchObject({
      version: 1,
      folder: 'answers',
      startedAt: '2026-01-02T03:04:05.000Z',
      endedAt: '2026-01-02T03:05:05.000Z',
      elapsedMs: 60_000,
      stopped: 'Ctrl-C',
    });
    expect(report.jobs.map(({ id, outcome, file, error }) => [id, outcome, file, error?.code])).toEqual([
      ['a', 'complete', 'a.md', undefined],
      ['b', 'failed', undefined, 'ERR_HTTP'],
      ['c', 'pending', undefined, undefined],
      ['d', 'stopped', 'd.md.partial', 'stopped'],
      ['deep/e', 'withheld', 'deep/e.md.partial', 'finish-length'],
    ]);
    expect(report.jobs[0]).toEqual({
      id: 'a',
      line: 1,
      provider: 'polargrid',
      model: 'millwheel-1',
      format: 'text',
      outcome: 'complete',
      skipped: true,
      file: 'a.md',
      finish: 'stop',
      chars: 1_200,
      bytes: 1_210,
      startedAt: '2026-01-02T03:04:05.000Z',
      firstContentMs: 310,
      totalMs: 4_200,
      usage: { provenance: 'reported', inputTokens: 12, outputTokens: 310, cost: { total: 0.001, currency: 'USD' } },
      attempts: 1,
      restarts: 0,
      runs: 1,
      requestIds: ['r1'],
      billing: 'ended',
    });
    expect(report.jobs[3]).toMatchObject({ by: 'signal', warnings: ['w'] });
    expect(report.totals).toEqual({
      jobs: 5,
      outcomes: { complete: 1, failed: 1, interrupted: 0, stopped: 1, withheld: 1, pending: 1 },
      askedAgain: 1,
      chars: 3_600,
      bytes: 3_630,
      attempts: 6,
      restarts: 0,
      cost: [{ currency: 'USD', total: 0.002 }],
      costUnknown: 2,
      inputTokens: 24,
      outputTokens: 623,
      totalTokens: 644,
      tokensUnknown: 1,
      partial: 1,
      firstContentMs: { p50: 310, p90: 310, p99: 310, max: 310 },
      totalMs: { p50: 4_200, p90: 4_200, p99: 4_200, max: 4_200 },
    });
    expect(report.thisRun).toMatchObject({
      jobs: 3,
      outcomes: { complete: 0, pending: 0 },
      cost: [{ currency: 'USD', total: 0.001 }],
      charsPerSecond: 40,
    });
    expect(JSON.stringify(report)).not.toContain('prompt');
  });

  it('measures times by the nearest rank, and only of answers that are whole', () => {
    const jobs = Array.from({ length: 201 }, (_, n) => job(String(n)));
    const receipts = jobs.map((one, n) =>
      n === 200
        ? receiptOf(one, { ...failure('no'), timings: { startedAt: 0, totalMs: 1e9 } })
        : receiptOf(one, { timings: { startedAt: 0, firstContentMs: 200 - n, totalMs: (n + 1) * 10 } }),
    );
    const { totals } = runReport(jobs, receipts, RUN);
    expect(totals.firstContentMs).toEqual({ p50: 100, p90: 180, p99: 198, max: 200 });
    expect(totals.totalMs).toEqual({ p50: 1_000, p90: 1_800, p99: 1_980, max: 2_000 });
  });

  it('is of nothing, too', () => {
    const report = runReport([], [], { ...RUN, endedAt: RUN.startedAt });
    expect(report.totals).toMatchObject({ jobs: 0, cost: [], inputTokens: null, firstContentMs: null });
    expect(report.thisRun.charsPerSecond).toBeNull();
    expect(runTable(report, 80, noColors)).toBe('✓ 0 of 0 jobs complete, in 0.00 s\n');
  });

  it('takes receipts in any order, and ten thousand jobs', () => {
    const jobs = Array.from({ length: 10_000 }, (_, n) => job(`job ${String(n)}`));
    const receipts = jobs.map((one, n) => receiptOf(one, n % 3 === 0 ? failure('no') : {}));
    const report = runReport(jobs, receipts, RUN);
    expect(runReport(jobs, [...receipts].reverse(), RUN)).toEqual(report);
    expect(report.jobs.map(({ id }) => id)).toEqual(jobs.map(({ id }) => id));
    const lines = runTable(report, 100, noColors).trimEnd().split('\n');
    expect(lines.length).toBeLessThan(80);
    expect(lines.at(-1)).toBe('… and 9,970 more: 3,304 failed, 6,666 complete');
  });
});

describe('the jobs that failed', () => {
  const defaults = { provider: 'polargrid', model: 'm', maxTokens: 7, output: 'book/{n}-{title}.md' };
  const FILE = [
    JSON.stringify({ defaults }),
    ...['one', 'two', 'three', 'four'].map((title) => JSON.stringify({ title, prompt: `Tell ${title}` })),
  ].join('\n');

  it('are a job file that asks the same and writes the same', async () => {
    const jobs = await readJobs({ name: '-', text: Readable.from([FILE]) });
    const receipts = [
      receiptOf(jobs[3]!, { outcome: 'interrupted', error: { name: 'InterruptedError', message: 'cut' } }),
      receiptOf(jobs[0]!),
      receiptOf(jobs[2]!, failure('HTTP 500')),
    ];
    const text = failedJobs(jobs, receipts);
    expect(text.endsWith('\n')).toBe(true);
    const lines = text.trimEnd().split('\n');
    expect(lines.map((line) => (JSON.parse(line) as { failed: unknown }).failed)).toEqual([
      { code: 'ERR_HTTP', message: 'HTTP 500' },
      { code: 'InterruptedError', message: 'cut' },
    ]);
    const again = await readJobs({ name: 'failed.jsonl', text: Readable.from([text]) });
    const asked = (all: typeof jobs): unknown => all.map(({ line: _, source: _source, ...one }) => one);
    expect(asked(again)).toEqual(asked(jobs.slice(2)));
    // What fails once more says why it failed last.
    const third = failedJobs(again, [receiptOf(again[0]!, failure('HTTP 503'))]);
    expect(JSON.parse(third)).toMatchObject({ failed: { message: 'HTTP 503' }, title: 'three' });
  });

  it('are none where all are complete, or not begun', () => {
    expect(failedJobs([job('a'), job('b')], [receiptOf(job('a'))])).toBe('');
  });
});

describe('the table of a run', () => {
  const jobs = ['good', 'bad', 'cut', 'later'].map((id) => job(id));
  const report = runReport(
    jobs,
    [
      receiptOf(jobs[0]!, { runs: 2 }),
      receiptOf(jobs[1]!, {
        ...failure('HTTP 429 from https://api.example/v1: too many requests\nagain'),
        where: 'none',
        chars: 0,
        usage: { provenance: 'unknown' },
        timings: { startedAt: 0, totalMs: 800 },
        attempts: 6,
      }),
      receiptOf(jobs[2]!, {
        outcome: 'interrupted',
        error: { name: 'InterruptedError', code: 'ERR_INTERRUPTED', message: 'The stream ended before its proven end' },
        usage: { provenance: 'partial', outputTokens: 5 },
      }),
    ],
    RUN,
  );

  it('says what came of it all, then what failed, why, and where it is', () => {
    expect(runTable(report, 110, noColors)).toBe(`\
✗ 1 of 4 jobs complete, 1 failed, 1 interrupted, 1 pending, in 1 min 00 s
again   1 job begun more than once
cost    0.001 USD (2 unknown)
tokens  12 in, 315 out (1 unknown, 1 in part)
text    2,400 chars, 40/s
first   p50 0.31 s, p90 0.31 s, p99 0.31 s, at most 0.31 s
total   p50 4.2 s, p90 4.2 s, p99 4.2 s, at most 4.2 s

outcome      job    chars   first   total  tokens       cost        tries  file
failed       bad        0       –  0.80 s       –          –            6  –
  HTTP 429 from https://api.example/v1: too many requests again
interrupted  cut    1,200  0.31 s   4.2 s      5+          –            1  cut.md.partial
  The stream ended before its proven end
complete     good   1,200  0.31 s   4.2 s     310  0.001 USD  1 in 2 runs  good.md
pending      later      –       –       –       –          –            –  –
`);
  });

  it('is no wider than the terminal, and lets no control character through', () => {
    const nasty = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 40 }),
      fc.constantFrom('\u001b[2J', '\u009b31m', '磨坊'.repeat(40), 'a '.repeat(200), '\u202e\u0007', '👩‍🚀'.repeat(30)),
    );
    fc.assert(
      fc.property(
        fc.array(fc.tuple(nasty, nasty, nasty), { maxLength: 40 }),
        fc.integer({ min: 20, max: 160 }),
        (all, columns) => {
          const some = all.map(([id], n) => job(id, { out: `${String(n)}.md` }));
          const receipts = all.map(([, message, currency], n) =>
            receiptOf(some[n]!, {
              ...(n % 2 === 0 && failure(message)),
              usage: { provenance: 'reported', cost: { total: n, currency: currency.slice(0, 5) } },
            }),
          );
          const text = runTable(runReport(some, receipts, RUN), columns, noColors);
          expect(text.replaceAll('\n', '')).not.toMatch(CONTROL);
          expect(Math.max(...text.split('\n').map(widthOf))).toBeLessThanOrEqual(columns);
        },
      ),
      { numRuns: 200 },
    );
  });

  it('colours outcomes where it may', () => {
    expect(runTable(report, 110, picocolors.createColors(true))).toContain('\u001b[31mfailed\u001b[39m');
  });
});
