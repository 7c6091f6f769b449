import { asyncScheduler } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { jsonRunView } from '../../../src/cli/run/jsonRunView.js';
import { plainRunView } from '../../../src/cli/run/plainRunView.js';
import type { RunView } from '../../../src/cli/run/runView.js';
import { runViewFor } from '../../../src/cli/run/runViewFor.js';
import type { StreamEvent } from '../../../src/index.js';
import { marbles } from '../../support/marbles.js';
import { Capture } from '../harness.js';
import { failure, job, receiptOf } from './fixtures.js';

const START = { jobs: 3, finished: 1, folder: 'answers' };
const text: StreamEvent = { type: 'text', text: 'a secret answer', index: 0, name: 'output' };
// eslint-disable-next-line no-control-regex -- control characters are what it looks for
const CONTROL = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/;

/** What a run tells its view, by the virtual millisecond. */
const STORY: Readonly<Record<number, (view: RunView) => void>> = {
  0: (view) => {
    view.end(receiptOf(job('old'), { skipped: true }));
    view.start(job('one'));
    view.start(job('two'));
  },
  1_000: (view) => {
    view.show(job('one'), text);
    view.retry(job('two'), 'HTTP 429\u001b[2J', 2_000);
    view.gate({ name: 'polargrid api', limit: 4, most: 8, closedForMs: 2_000 });
    view.gate({ name: 'polargrid api', limit: 2, most: 8, closedForMs: 2_000 });
  },
  4_000: (view) => {
    view.end(receiptOf(job('one'), { attempts: 2, runs: 2 }));
  },
  11_000: (view) => {
    view.stop('draining', 'Ctrl-C');
    view.say('hello\nthere');
    view.end(
      receiptOf(job('two\u202e', { out: 'two.md' }), {
        ...failure('HTTP 500 from https://api\nfoo\u001b[31m'),
        timings: { startedAt: 0, totalMs: 7_000 },
        usage: { provenance: 'unknown' },
        where: 'none',
        chars: 0,
      }),
    );
  },
};

function play(make: (output: Capture) => RunView, then: (lines: string[], output: Capture) => void): () => void {
  return marbles((m) => {
    const output = new Capture();
    const view = make(output);
    for (const [ms, step] of Object.entries(STORY)) {
      asyncScheduler.schedule(() => {
        step(view);
      }, Number(ms));
    }
    asyncScheduler.schedule(() => {
      view.close();
    }, 12_000);
    m.flush();
    then(output.text.trimEnd().split('\n'), output);
  });
}

describe('a run as lines', () => {
  it(
    'tells what happens when it happens, and how it stands every so often',
    play(
      (output) => plainRunView(output, START),
      (lines) => {
        expect(lines).toEqual([
          '0:00:00  run          3 jobs into answers, 1 of them finished by an earlier run',
          '0:00:01  again        two in 2.0 s: HTTP 429',
          '0:00:01  gate         polargrid api: closed for 2 s, 4 of 8 at once',
          '0:00:04  complete     one 1,200 chars, first 0.31 s, total 4.2 s, tokens 12 in, 310 out, 0.001 USD, 2 attempts, 2 runs -> one.md',
          '0:00:10  run          2 of 3 jobs done, 1 running, 0.001 USD, 2 chars/s, 1 asked again, 12 tokens in, 310 out, – left, gate polargrid api: 2 of 8 at once',
          '0:00:11  draining     Ctrl-C: no more jobs are begun, those that run are finished; Ctrl-C stops them',
          '0:00:11  note         hello there',
          '0:00:11  failed       two 0 chars, no content, total 7.0 s, tokens unknown: HTTP 500 from https://api foo',
          expect.stringMatching(
            /^0:00:12 {2}run {10}3 of 3 jobs done, .*1 failed, 10 jobs\/min, 0.001 USD \(1 unknown\), /,
          ),
        ]);
        expect(lines.join('\n')).not.toMatch(CONTROL);
      },
    ),
  );

  it(
    'leaves a summary out where the reader is slow, and is silent where it has left',
    marbles((m) => {
      const output = new Capture();
      const view = plainRunView(output, START, { summaryMs: 1_000 });
      Object.defineProperty(output, 'writableNeedDrain', { get: () => true });
      asyncScheduler.schedule(() => {
        expect(output.text.split('\n')).toHaveLength(2);
        output.destroy();
        view.say('nobody is there');
        view.close();
      }, 5_500);
      m.flush();
      expect(output.text).not.toContain('nobody');
    }),
  );
});

describe('a run for machines', () => {
  const parse = (lines: readonly string[]): Record<string, unknown>[] =>
    lines.map((line) => JSON.parse(line) as Record<string, unknown>); // what the view prints
  it(
    'is a JSON object on each line',
    play(
      (output) => jsonRunView(output, START),
      (lines, output) => {
        const told = parse(lines);
        const at = (ms: number): string => new Date(ms).toISOString();
        expect(told.map(({ type }) => type)).toEqual(
          'run end start start retry gate gate end summary stop note end summary'.split(' '),
        );
        expect(told[0]).toEqual({ type: 'run', at: at(0), version: 1, ...START });
        expect(told[2]).toEqual({
          type: 'start',
          at: at(0),
          job: 'one',
          line: 1,
          provider: 'polargrid',
          model: 'millwheel-1',
          file: 'one.md',
        });
        expect(told[4]).toEqual({ type: 'retry', at: at(1_000), job: 'two', why: 'HTTP 429\u001b[2J', delayMs: 2_000 });
        expect(told[5]).toEqual({
          type: 'gate',
          at: at(1_000),
          name: 'polargrid api',
          limit: 4,
          most: 8,
          closedForMs: 2_000,
        });
        expect(told[7]).toMatchObject({
          job: 'one',
          entry: { id: 'one', outcome: 'complete', file: 'one.md', chars: 1_200, attempts: 2, runs: 2 },
        });
        expect(told[8]).toMatchObject({
          at: at(10_000),
          done: 2,
          jobs: 3,
          running: 1,
          leftMs: null,
          jobsPerMinute: null,
        });
        expect(told[9]).toEqual({ type: 'stop', at: at(11_000), stage: 'draining', why: 'Ctrl-C' });
        expect(told[11]).toMatchObject({
          entry: {
            outcome: 'failed',
            error: { code: 'ERR_HTTP', message: 'HTTP 500 from https://api\nfoo\u001b[31m' },
          },
        });
        expect(told[12]).toMatchObject({ done: 3, failed: 1, spent: { costUnknown: 1 } });
        expect(output.text).not.toContain('secret');
        expect(output.text).not.toMatch(/[^\n\u0020-\u{10ffff}]/u);
      },
    ),
  );

  it(
    'tells the events of the answers where it was asked to, and null for a limit that is none',
    marbles(() => {
      const output = new Capture();
      const view = jsonRunView(output, START, { events: 'all' });
      view.show(job('one'), text);
      view.gate({ name: 'api', limit: Infinity, closedForMs: 0 });
      view.close();
      expect(parse(output.text.trimEnd().split('\n')).slice(1, 3)).toEqual([
        { type: 'event', at: expect.any(String), job: 'one', event: text },
        { type: 'gate', at: expect.any(String), name: 'api', limit: null, closedForMs: 0 },
      ]);
    }),
  );
});

describe('the view of a run', () => {
  const first = (
    env: Readonly<Record<string, string>>,
    terminal?: { columns: number; rows: number },
    json?: true,
  ): string => {
    const stdout = new Capture(terminal);
    const view = runViewFor({ stdout, env }, START, { json });
    view.close();
    return stdout.text;
  };
  const SIZE = { columns: 80, rows: 24 };
  const LINE = /^0:00:00 {2}run/;

  it('is live on a terminal, and lines everywhere else', () => {
    expect(first({ TERM: 'xterm' }, SIZE)).not.toMatch(LINE);
    expect(first({}, { columns: 0, rows: 0 })).not.toMatch(LINE);
    for (const env of [{ CI: 'true' }, { CI: '1' }, { TERM: 'dumb' }]) expect(first(env, SIZE)).toMatch(LINE);
    expect(first({}, { columns: 20, rows: 24 })).toMatch(LINE);
    expect(first({}, { columns: 80, rows: 3 })).toMatch(LINE);
    expect(first({})).toMatch(LINE);
    expect(JSON.parse(first({}, SIZE, true).split('\n')[0] ?? '')).toMatchObject({ type: 'run' });
  });
});
