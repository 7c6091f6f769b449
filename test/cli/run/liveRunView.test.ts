import picocolors from 'picocolors';
import { asyncScheduler } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { liveRunView } from '../../../src/cli/run/liveRunView.js';
import type { RunView } from '../../../src/cli/run/runView.js';
import type { StreamEvent } from '../../../src/index.js';
import { FakeTerminal } from '../../support/fakeTerminal.js';
import { marbles } from '../../support/marbles.js';
import { failure, job, receiptOf } from './fixtures.js';

const text = (content: string): StreamEvent => ({ type: 'text', text: content, index: 0, name: 'output' });
const noColors = picocolors.createColors(false);
/** Lines without what turns. */
const still = (lines: readonly string[]): string[] => lines.map((line) => line.replace(/^[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] /u, '* '));

interface Story {
  readonly jobs?: number;
  readonly finished?: number;
  readonly terminal?: FakeTerminal;
  /** What happens when, in virtual milliseconds. */
  readonly steps: Readonly<Record<number, (view: RunView, terminal: FakeTerminal) => void>>;
  /** When the view is closed. */
  readonly closeAt: number;
  readonly colors?: typeof noColors;
}

/** A test that plays a run; time is virtual. */
function play(story: Story, then: (terminal: FakeTerminal) => void): () => void {
  return marbles((m) => {
    const { jobs = 4, finished = 0, terminal = new FakeTerminal({ columns: 90 }), steps, closeAt, colors } = story;
    const view = liveRunView(terminal, { jobs, finished, folder: 'answers' }, colors ?? noColors);
    for (const [ms, step] of Object.entries(steps)) {
      asyncScheduler.schedule(() => {
        step(view, terminal);
      }, Number(ms));
    }
    asyncScheduler.schedule(() => {
      view.close();
    }, closeAt);
    m.flush();
    then(terminal);
  });
}

const [one, two, three, four] = ['one', 'two', 'three', 'four'].map((id) => job(id)) as [
  ReturnType<typeof job>,
  ReturnType<typeof job>,
  ReturnType<typeof job>,
  ReturnType<typeof job>,
];

describe('a run on a terminal', () => {
  let seen: string[][] = [];
  const look = (_view: RunView, terminal: FakeTerminal): void => {
    seen.push(still(terminal.lines));
  };

  it(
    'is a row for each job that runs, and the whole of it below',
    play(
      {
        steps: {
          0: (view) => {
            seen = [];
            view.start(one);
            view.start(two);
          },
          50: (view) => {
            view.show(one, text('The mill stands.'));
            view.retry(two, 'HTTP 429', 2_000);
          },
          150: look,
          1_000: (view) => {
            view.end(receiptOf(one));
            view.start(three);
          },
          2_000: (view) => {
            view.end(receiptOf(two, { ...failure('no such model'), usage: { provenance: 'unknown' }, chars: 0 }));
          },
          2_150: look,
        },
        closeAt: 2_200,
      },
      (terminal) => {
        expect(seen[0]).toEqual([
          '4 jobs into answers',
          '* one  streaming  16 chars  first 0.05 s  The mill stands.',
          '* two  retrying     0.10 s',
          '────────────────────────────────────────  0/4  0 %  – left  0.10 s so far',
          '160 chars/s · 1 asked again',
        ]);
        expect(seen[1]).toEqual([
          '4 jobs into answers',
          '✓ one  complete  4.2 s  1,200 chars  310 tokens  0.001 USD  first 0.31 s  one.md',
          '✗ two    failed  4.2 s  first 0.31 s  two.md.partial',
          '         no such model',
          '* three  waiting  1.1 s',
          '━━━━━━━━━━━━━━━━━━━━────────────────────  2/4  50 %  about 3 s left  2.1 s so far',
          '1 failed · 57 jobs/min · 0.001 USD (1 unknown) · 5 chars/s · 1 asked again',
        ]);
        expect(terminal.lines).toEqual(seen[1]?.slice(0, 4));
        expect(terminal.isCursorHidden).toBe(false);
        expect(terminal.listeners4).toEqual([0, 0, 0, 0]);
      },
    ),
  );

  it(
    'tells what an earlier run has finished, whether its receipts come or not, and counts only this run for the time left',
    play(
      {
        jobs: 100,
        finished: 90,
        steps: {
          0: (view) => {
            seen = [];
            for (let n = 0; n < 90; n += 1) view.end(receiptOf(job(`old ${String(n)}`), { skipped: true }));
          },
          10_000: (view) => {
            view.end(receiptOf(one));
            view.end(receiptOf(two));
          },
          10_100: look,
        },
        closeAt: 10_200,
      },
      () => {
        expect(seen[0]).toEqual([
          '100 jobs into answers, 90 of them finished by an earlier run',
          expect.stringMatching(/^✓ one /),
          expect.stringMatching(/^✓ two /),
          '━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━───  92/100  92 %  about 40 s left  10 s so far',
          '12 jobs/min · 0.002 USD · 24 tokens in, 620 out',
        ]);
      },
    ),
  );

  it(
    'says which limit holds it up while it does, and why it takes no more jobs',
    play(
      {
        steps: {
          0: (view) => {
            seen = [];
            view.start(one);
            view.gate({ name: 'polargrid \u001b]0;x\u0007api', limit: 3, most: 8, closedForMs: 2_400 });
          },
          1_000: look,
          2_500: (view) => {
            view.gate({ name: 'polargrid \u001b]0;x\u0007api', limit: 8, most: 8, closedForMs: 0 });
            view.stop('draining', 'Ctrl-C');
          },
          2_650: look,
        },
        closeAt: 2_700,
      },
      () => {
        expect(seen[0]?.slice(-1)).toEqual(['gate polargrid api: closed for 2 s, 3 of 8 at once']);
        const words = 'Ctrl-C: no more jobs are begun, those that run are finished; Ctrl-C stops them';
        expect(seen[1]?.slice(1)).toEqual([
          words,
          expect.stringMatching(/^\* one/),
          expect.stringMatching(/^─+ {2}0\/4/),
          words,
        ]);
      },
    ),
  );

  it(
    'lets no control character through, whatever jobs and services say',
    play(
      {
        steps: {
          0: (view) => {
            const evil = job('evil\u001b[2J\u0007\u202e', { out: 'a\u001b[31m.md' });
            view.start(evil);
            view.show(evil, text('\u001b]52;c;AAAA\u0007 \u009b31m'));
            view.show(evil, { type: 'log', message: 'a\u001b[1A\rb' });
            view.say('\u001b[2Jhello\nthere');
            view.gate({ name: '\u001b[H', limit: 1, closedForMs: 1_000 });
            view.stop('stopping', '\u001b[H');
            view.end(
              receiptOf(evil, {
                ...failure('\u001b[2J\u202e'),
                usage: { provenance: 'reported', cost: { total: 1, currency: '\u001b[H' } },
              }),
            );
          },
        },
        closeAt: 500,
      },
      // The terminal refuses what we do not write ourselves.
      (terminal) => {
        expect(terminal.lines).toContain('hello there');
      },
    ),
  );

  it.each([
    { columns: 24, rows: 4 },
    { columns: 30, rows: 2 },
    { columns: 12, rows: 3 },
    { columns: 200, rows: 60 },
  ])('fits $columns columns and $rows rows', ({ columns, rows }) => {
    const widths: number[] = [];
    play(
      {
        jobs: 1_000,
        terminal: new FakeTerminal({ columns, rows }),
        steps: {
          0: (view) => {
            for (let n = 0; n < 100; n += 1) {
              const running = job(`job ${String(n)} with a long name`);
              view.start(running);
              view.show(running, text('some text of the answer '.repeat(20)));
            }
            view.gate({ name: 'a gate with a very long name indeed', limit: 2, closedForMs: 60_000 });
          },
          250: (_view, terminal) => {
            const screen = terminal.lines.slice(
              terminal.lines.findIndex((line) => /^([⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏+] |─*.*0\/1)/u.test(line)),
            );
            expect(screen.length).toBeLessThan(rows);
            expect(screen.some((line) => line.includes('0/1,000'))).toBe(true);
            expect(screen.some((line) => line.includes('more'))).toBe(rows > 2);
            widths.push(...screen.map((line) => [...line].length));
          },
        },
        closeAt: 300,
      },
      () => {
        expect(Math.max(...widths)).toBeLessThan(columns);
      },
    )();
  });

  it(
    'draws ten frames a second at most, each no longer than the screen, while a hundred of a thousand jobs run',
    play(
      {
        jobs: 1_000,
        steps: Object.fromEntries(
          Array.from({ length: 500 }, (_, step) => [
            step * 10,
            (view: RunView): void => {
              if (step === 0) for (let n = 0; n < 100; n += 1) view.start(job(`job ${String(n)}`));
              for (let n = 0; n < 20; n += 1) view.show(hundred[(step + n) % 100] ?? one, text('word '));
            },
          ]),
        ),
        closeAt: 5_000,
      },
      (terminal) => {
        expect(terminal.pieces.length).toBeLessThanOrEqual(52);
        expect(Math.max(...terminal.pieces.map((piece) => piece.length))).toBeLessThan(24 * 90 * 2);
      },
    ),
  );
  const hundred = Array.from({ length: 100 }, (_, n) => job(`job ${String(n)}`));

  it(
    'has colours where it may have them, and is told from others by words too',
    play(
      {
        colors: picocolors.createColors(true),
        steps: {
          0: (view) => {
            view.start(four);
          },
        },
        closeAt: 200,
      },
      (terminal) => {
        expect(terminal.text).toContain('\u001b[1m0/4\u001b[22m');
        // No line that only has colours in it.
        expect(terminal.text).not.toContain('\n\u001b[2m\u001b[22m');
      },
    ),
  );

  it(
    'is silent once its terminal is lost',
    play(
      {
        steps: {
          0: (view) => {
            view.start(one);
          },
          150: (_view, terminal) => {
            terminal.emit('error', Object.assign(new Error('write EIO'), { code: 'EIO' }));
          },
          200: (view, terminal) => {
            const written = terminal.pieces.length;
            view.end(receiptOf(one));
            asyncScheduler.schedule(() => {
              expect(terminal.pieces).toHaveLength(written);
            }, 500);
          },
        },
        closeAt: 1_000,
      },
      (terminal) => {
        expect(terminal.lines[0]).toBe('4 jobs into answers');
      },
    ),
  );
});
