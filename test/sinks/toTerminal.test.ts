import { PassThrough } from 'node:stream';
import * as fc from 'fast-check';
import {
  asyncScheduler,
  catchError,
  concat,
  defer,
  delay,
  EMPTY,
  from,
  map,
  merge,
  mergeMap,
  NEVER,
  type Observable,
  of,
  share,
  Subject,
  Subscription,
  take,
  tap,
  throwError,
} from 'rxjs';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { InterruptedError, ProviderError, SinkError } from '../../src/errors.js';
import type { TerminalOutput } from '../../src/internal/io.js';
import { retryOnDisconnect } from '../../src/operators/retryOnDisconnect.js';
import { stopOn } from '../../src/operators/stopOn.js';
import { tapReceipt } from '../../src/operators/tapReceipt.js';
import { toTerminal, type ToTerminalOptions } from '../../src/sinks/toTerminal.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { fromHTTP } from '../../src/sources/fromHTTP.js';
import { type Keyed, mergeStreams } from '../../src/sources/mergeStreams.js';
import { fakeCall } from '../../src/testing/fakeCall.js';
import { startServer } from '../../src/testing/startServer.js';
import type { Receipt, StreamEvent } from '../../src/types.js';
import { FakeTerminal } from '../support/fakeTerminal.js';
import { marbles } from '../support/marbles.js';
import { pausable } from '../support/pausable.js';

beforeEach(() => {
  vi.stubEnv('CI', '');
  vi.stubEnv('TERM', 'xterm-256color');
  vi.stubEnv('NO_COLOR', '');
  vi.stubEnv('FORCE_COLOR', undefined);
});
afterEach(() => {
  vi.unstubAllEnvs();
});

const text = (content: string): StreamEvent => ({ type: 'text', text: content, index: 0, name: 'output' });
const thinking = (content: string): StreamEvent => ({ type: 'thinking', text: content, index: 0, name: 'thinking' });
const log = (message: string): StreamEvent => ({ type: 'log', message });
const status = (word: string): StreamEvent => ({ type: 'status', status: word, terminal: false });
const progress = (current: number, total?: number, message?: string): StreamEvent => ({
  type: 'progress',
  current,
  ...(total !== undefined && { total }),
  ...(message !== undefined && { message }),
});
const finish: StreamEvent = { type: 'finish', reason: 'stop' };
const restart: StreamEvent = { type: 'restart', attempt: 2, because: 'a cut', discard: { chars: 1 } };
const usage = (outputTokens: number): StreamEvent => ({ type: 'usage', outputTokens, provenance: 'reported' });

const keyed = (key: string, event: StreamEvent): Keyed<StreamEvent> => ({ ...event, key });

/** A receipt of a source without a flow, `totalMs` of virtual time after zero. */
const receipt = (more: Partial<Receipt>, totalMs: number): Receipt => ({
  where: 'terminal',
  chars: 0,
  bytes: 0,
  outcome: 'complete',
  timings: { startedAt: 0, totalMs },
  usage: { provenance: 'unknown' },
  attempts: 0,
  restarts: 0,
  warnings: [],
  requestIds: [],
  billing: 'ended',
  ...more,
});

/** Looks at the screen at times of the virtual clock. */
function lookAt(terminal: FakeTerminal, ...times: readonly number[]): string[][] {
  const seen: string[][] = [];
  for (const ms of times) asyncScheduler.schedule(() => seen.push(terminal.lines), ms);
  return seen;
}

interface Shown {
  readonly terminal: FakeTerminal;
  readonly source: Subject<StreamEvent | string>;
  readonly receipts: Receipt[];
  readonly errors: unknown[];
  readonly subscription: Subscription;
}

/** A sink that the test feeds by hand; its clock is the marbles'. */
function show(options: ToTerminalOptions = {}, terminal: FakeTerminal = new FakeTerminal()): Shown {
  const source = new Subject<StreamEvent | string>();
  const receipts: Receipt[] = [];
  const errors: unknown[] = [];
  const subscription = source.pipe(toTerminal({ key: 'guide', stream: terminal, ...options })).subscribe({
    next: (one) => receipts.push(one),
    error: (error: unknown) => errors.push(error),
  });
  return { terminal, source, receipts, errors, subscription };
}

/** Runs steps at times of the virtual clock. */
function at(steps: Readonly<Record<number, () => void>>): void {
  for (const [ms, step] of Object.entries(steps)) asyncScheduler.schedule(step, Number(ms));
}

const ROW_UP = '\u001b[1A\r\u001b[2K';

/** A test in which no time passes. */
const still = (test: () => void): (() => void) =>
  marbles(() => {
    test();
  });

/** Rows without the spinner. */
const rows = (lines: readonly string[] | undefined): string[] =>
  (lines ?? []).map((line) => line.replace(/^[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] /u, '* '));

describe('a stream on a terminal', () => {
  it(
    'is a row that grows, and a line when it has ended',
    marbles((m) => {
      const terminal = new FakeTerminal();
      const source = m.cold<string>('--a 300ms b 100ms |', { a: 'The mill ', b: 'stands.' });
      const subs = '                 ^-- 300ms - 100ms !';
      const expected = '             --- 300ms - 100ms (r|)';
      const seen = lookAt(terminal, 99, 101, 401);
      m.expect(source.pipe(toTerminal({ key: 'guide', stream: terminal }))).toBeObservable(expected, {
        r: receipt({ key: 'guide', chars: 16 }, 404),
      });
      m.expect(source).toHaveSubscriptions(subs);
      m.flush();
      expect(seen.map(rows)).toEqual([
        [],
        ['* guide  streaming  9 chars  first 0.00 s  The mill'],
        ['* guide  streaming  16 chars  24/s  first 0.00 s  The mill stands.'],
      ]);
      expect(terminal.lines).toEqual(['✓ guide  complete  0.40 s  16 chars  first 0.00 s']);
      expect(terminal.isCursorHidden).toBe(false);
      expect(terminal.listeners4).toEqual([0, 0, 0, 0]);
    }),
  );

  it(
    'that never ends is a row until it is left',
    marbles((m) => {
      const terminal = new FakeTerminal();
      const source = m.cold<string>('-a---', { a: 'a' });
      const subs = '                 ^ 249ms !';
      const expected = '             - 249ms -';
      const seen = lookAt(terminal, 240);
      const hidden: boolean[] = [];
      at({ 240: () => hidden.push(terminal.isCursorHidden) });
      m.expect(source.pipe(toTerminal({ stream: terminal })), subs).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
      m.flush();
      expect(seen.map(rows)).toEqual([['* stream  streaming  1 char  0/s  first 0.00 s  a']]);
      expect(hidden).toEqual([true]);
      expect(terminal.lines).toEqual(['■ stream  stopped  0.25 s  1 char  first 0.00 s']);
      expect(terminal.isCursorHidden).toBe(false);
      expect(terminal.listeners4).toEqual([0, 0, 0, 0]);
    }),
  );

  it(
    'that is empty has a line and a receipt',
    marbles((m) => {
      const terminal = new FakeTerminal();
      const source = m.cold<string>('--|');
      m.expect(source.pipe(toTerminal({ key: 'x', stream: terminal }))).toBeObservable('--(r|)', {
        r: receipt({ key: 'x' }, 2),
      });
      m.flush();
      expect(terminal.lines).toEqual(['✓ x  complete  0.00 s']);
    }),
  );

  it(
    'that fails says why, and is its error with the receipt',
    marbles((m) => {
      const terminal = new FakeTerminal();
      const error = new ProviderError('the kiln is cold', { retryable: false });
      const source = m.cold<string>('-a-#', { a: 'abc' }, error);
      const subs = '                 ^--!';
      m.expect(source.pipe(toTerminal({ key: 'guide', stream: terminal }))).toBeObservable('---#', {}, error);
      m.expect(source).toHaveSubscriptions(subs);
      m.flush();
      expect(error.receipt).toStrictEqual(
        receipt(
          {
            key: 'guide',
            chars: 3,
            outcome: 'failed',
            error: { name: 'ProviderError', code: 'ERR_PROVIDER', message: 'the kiln is cold' },
          },
          3,
        ),
      );
      expect(terminal.lines).toEqual(['✗ guide  failed  0.00 s  3 chars  first 0.00 s', '         the kiln is cold']);
      expect(terminal.listeners4).toEqual([0, 0, 0, 0]);
    }),
  );

  it(
    'may come in one turn, and be taken in part',
    still(() => {
      const terminal = new FakeTerminal();
      const receipts: Receipt[] = [];
      of('a', 'b', 'c')
        .pipe(take(2), toTerminal({ stream: terminal }))
        .subscribe((one) => receipts.push(one));
      expect(receipts).toMatchObject([{ chars: 2, outcome: 'complete' }]);
      expect(terminal.lines).toEqual(['✓ stream  complete  0.00 s  2 chars  first 0.00 s']);
      expect(terminal.pieces).toHaveLength(1);
    }),
  );

  it(
    'leaves a receipt that may be taken alone',
    still(() => {
      const terminal = new FakeTerminal();
      const receipts: Receipt[] = [];
      of('a')
        .pipe(toTerminal({ stream: terminal }), take(1))
        .subscribe((one) => receipts.push(one));
      expect(receipts).toHaveLength(1);
      expect(terminal.listeners4).toEqual([0, 0, 0, 0]);
    }),
  );

  it(
    'is nothing before it is subscribed to',
    still(() => {
      const terminal = new FakeTerminal();
      const subscribed = vi.fn();
      void of('a').pipe(tap({ subscribe: subscribed }), toTerminal({ stream: terminal }));
      expect(subscribed).not.toHaveBeenCalled();
      expect(terminal.listeners4).toEqual([0, 0, 0, 0]);
      expect(terminal.text).toBe('');
    }),
  );

  it(
    'may be fed from its own output',
    still(() => {
      const terminal = new FakeTerminal({ isTTY: false });
      const source = new Subject<string>();
      const receipts: Receipt[] = [];
      let writes = 0;
      terminal.onWrite = (written): void => {
        writes += 1;
        if (writes === 2) source.next('b');
        if (writes === 3) source.complete();
        written();
      };
      source.pipe(toTerminal({ stream: terminal, key: 'x' })).subscribe((one) => receipts.push(one));
      source.next('a');
      source.complete();
      expect(receipts).toMatchObject([{ chars: 2 }]);
      expect(terminal.lines.at(-1)).toMatch(/^\[x\] complete after/);
    }),
  );

  it(
    'may be shown on two terminals at once',
    marbles((m) => {
      const [one, two] = [new FakeTerminal(), new FakeTerminal()];
      const source = m.hot<string>('-a--b|', { a: 'a', b: 'b' });
      const all = merge(source.pipe(toTerminal({ stream: one })), source.pipe(toTerminal({ stream: two })));
      m.expect(all.pipe(map(({ chars }) => String(chars)))).toBeObservable('-----(22|)');
      m.expect(source).toHaveSubscriptions(['^----!', '^----!']);
      m.flush();
      expect(one.lines).toEqual(two.lines);
    }),
  );

  it(
    'that is cut is an InterruptedError',
    marbles((m) => {
      const terminal = new FakeTerminal();
      const source = m.cold<StreamEvent>('-a-|', { a: text('a') });
      const told = fromCall(fakeCall(source)).pipe(
        toTerminal({ stream: terminal }),
        map(({ outcome }) => outcome),
        catchError((error: unknown) => of(error instanceof InterruptedError ? error.receipt?.outcome : error)),
      );
      m.expect(told).toBeObservable('---(e|)', { e: 'interrupted' });
      m.flush();
      expect(terminal.lines[0]).toMatch(/^✂ fake {2}interrupted {2}0\.00 s {2}billing continues {2}1 char/);
    }),
  );

  it(
    'that is stopped on purpose says by whom',
    still(() => {
      const terminal = new FakeTerminal();
      const stop = new Subject<void>();
      const receipts: Receipt[] = [];
      fromCall(fakeCall(NEVER))
        .pipe(stopOn(stop), toTerminal({ stream: terminal, key: 'guide' }))
        .subscribe((one) => receipts.push(one));
      stop.next();
      expect(receipts).toMatchObject([{ outcome: 'stopped', by: 'notifier', where: 'terminal' }]);
      expect(terminal.lines).toEqual(['■ guide  stopped by notifier  0.00 s']);
    }),
  );

  it(
    'tells a receipt below when it is left',
    still(() => {
      const told: Receipt[] = [];
      of('a')
        .pipe(
          mergeMap(() => concat(of('abc'), NEVER)),
          toTerminal({ stream: new FakeTerminal() }),
          tapReceipt((one) => told.push(one)),
        )
        .subscribe()
        .unsubscribe();
      expect(told).toMatchObject([{ outcome: 'stopped', by: 'unsubscribe', chars: 3, where: 'terminal' }]);
    }),
  );
});

describe('the row', () => {
  /** What a row is after these events, at the second frame. */
  const rowOf = (
    m: { flush(): void },
    events: readonly (StreamEvent | string)[],
    options: ToTerminalOptions = {},
    terminal = new FakeTerminal({ columns: 100 }),
  ): string => {
    const { source, subscription } = show(options, terminal);
    const seen = lookAt(terminal, 210);
    at({
      50: () => {
        for (const event of events) source.next(event);
      },
      211: () => {
        subscription.unsubscribe();
      },
    });
    m.flush();
    return rows(seen[0]).at(-1) ?? '';
  };

  it.each<[string, readonly (StreamEvent | string)[], string]>([
    ['waits', [], '* guide  waiting  0.20 s'],
    [
      'shows a comment while nothing has come',
      [{ type: 'heartbeat', comment: 'PROCESSING' }],
      '* guide  waiting  0.20 s  PROCESSING',
    ],
    ['thinks', [thinking('hm, let me see')], '* guide  thinking  14 chars  0/s  first 0.05 s  hm, let me see'],
    ['answers', [thinking('hm'), text('Yes.')], '* guide  streaming  4 chars  0/s  first 0.05 s  Yes.'],
    [
      'declines',
      [{ type: 'refusal', text: 'I cannot.', index: 0, name: 'refusal' }],
      '* guide  refusing  0.20 s  I cannot.',
    ],
    ['has a state of the provider’s', [status('queued'), status('running')], '* guide  running  0.20 s'],
    ['has a bar', [status('running'), progress(31, 50, 'step 31')], '* guide  running  ━━━━━━━━──────  62 %  step 31'],
    ['has no bar where no total is known', [progress(31)], '* guide  working  0.20 s'],
    ['shows the last line of a log', [log('one\ntwo')], '* guide  waiting  0.20 s  two'],
    [
      'calls a tool',
      [
        { type: 'tool-call-delta', index: 0, id: '1', name: 'weather', argumentsDelta: '{"city":' },
        { type: 'tool-call-delta', index: 0, id: '1', name: 'weather', argumentsDelta: '"Brno"' },
      ],
      '* guide  tool call  0.20 s  weather {"city":"Brno"',
    ],
    [
      'begins again with the next tool',
      [
        { type: 'tool-call-delta', index: 0, id: '1', name: 'weather', argumentsDelta: '{}' },
        { type: 'tool-call-delta', index: 0, id: '2', name: 'time', argumentsDelta: '{"at"' },
      ],
      '* guide  tool call  0.20 s  time {"at"',
    ],
    [
      'has a tool that failed',
      [{ type: 'tool-result', index: 0, id: '1', name: 'weather', result: 'no', isError: true }],
      '* guide  tool failed  0.20 s  weather',
    ],
    [
      'leaves out alternative answers',
      [text('one'), { type: 'text', text: 'two', index: 1, name: 'output', alternative: true }],
      '* guide  streaming  3 chars  0/s  first 0.05 s  one',
    ],
    ['begins anew', [text('wrong'), restart, text('right')], '* guide  streaming  5 chars  0/s  first 0.05 s  right'],
    [
      'counts the tokens that are told meanwhile',
      [text('a'), usage(10), text('b'), usage(20)],
      '* guide  streaming  20 tokens  0/s  first 0.05 s  ab',
    ],
    [
      'does not take a first guess for a count',
      [usage(1), text('abc')],
      '* guide  streaming  3 chars  0/s  first 0.05 s  abc',
    ],
    ['has one line', ['a\n\n  b\tc'], '* guide  streaming  8 chars  0/s  first 0.05 s  a b c'],
    [
      'shows the last words of a long text',
      [`${'word '.repeat(500)}the end`],
      `* guide  streaming  2,507 chars  0/s  first 0.05 s  …ord ${'word '.repeat(7)}the end`,
    ],
    [
      'has a surrogate pair that came in two',
      ['\ud83d', '\udc0e'],
      '* guide  streaming  2 chars  0/s  first 0.05 s  🐎',
    ],
    ['waits for the other half of one', ['a\ud83d'], '* guide  streaming  2 chars  0/s  first 0.05 s  a'],
  ])('%s', (_, events, expected) => {
    marbles((m) => {
      expect(rowOf(m, events)).toBe(expected);
    })();
  });

  it.each<[number, string]>([
    [
      120,
      '* guide  streaming  88 chars  0/s  first 0.05 s  …ned since before anybody counted, and it will turn when nobody counts',
    ],
    [80, '* guide  streaming  88 chars  0/s  first 0.05 s  … will turn when nobody counts'],
    [60, '* guide  streaming  88 chars  0/s  …turn when nobody counts'],
    [40, '* guide  streaming  88 chars  0/s'],
    [20, '* guide  streaming'],
    [10, '* gui…  …'],
  ])('on %i columns shows what there is room for', (columns, expected) => {
    const words = 'The wheel has turned since before anybody counted, and it will turn when nobody counts';
    marbles((m) => {
      const row = rowOf(m, [`${words}  `], {}, new FakeTerminal({ columns }));
      expect(row.length).toBeLessThan(columns);
      expect(row).toBe(expected);
    })();
  });

  it(
    'cuts wide characters whole, and measures them as two columns',
    marbles((m) => {
      const row = rowOf(m, ['磨坊矗立在河流转弯处🚀👩‍🚀'.repeat(9)], { key: '磨坊' }, new FakeTerminal({ columns: 61 }));
      expect(row).toBe('* 磨坊  streaming  153 chars  0/s  …磨坊矗立在河流转弯处🚀👩‍🚀');
    }),
  );

  it(
    'slows down and stops as the stream does',
    marbles((m) => {
      const { terminal, source, subscription } = show();
      const seen = lookAt(terminal, 2_090, 4_090, 8_090, 20_090);
      const feed = asyncScheduler.schedule(function () {
        source.next('0123456789');
        this.schedule(undefined, 100);
      }, 50);
      at({
        2_095: () => {
          feed.unsubscribe();
        },
        20_095: () => {
          subscription.unsubscribe();
        },
      });
      m.flush();
      const rates = seen.map((lines) => Number(/(\d+)\/s/.exec(lines.join())?.[1]));
      expect(rates[0]).toBeGreaterThan(90);
      expect(rates[0]).toBeLessThan(110);
      expect(rates[1]).toBeGreaterThan(25);
      expect(rates[1]).toBeLessThan(50);
      expect(rates[2]).toBeLessThan(15);
      expect(rates[3]).toBe(0);
    }),
  );

  it(
    'is told of a connection that is lost and made again',
    marbles((m) => {
      const terminal = new FakeTerminal({ columns: 100 });
      const attempts = [
        concat(
          of(text('ab')),
          throwError(() => new InterruptedError('cut')),
        ),
        of(text('cd'), finish).pipe(delay(500)),
      ];
      const call = fakeCall(
        defer(() => attempts.shift() ?? EMPTY),
        { resume: 'on' },
      );
      const seen = lookAt(terminal, 350, 650);
      const told: Receipt[] = [];
      fromCall(call)
        .pipe(
          retryOnDisconnect({ count: 1, delay: { initialMs: 400 }, random: () => 0.999 }),
          toTerminal({ key: 'guide', stream: terminal }),
        )
        .subscribe((one) => told.push(one));
      m.flush();
      expect(rows(seen[0])[0]).toMatch(/^\* guide {2}retrying {2}2 chars/);
      expect(rows(seen[1])[0]).toMatch(/^\* guide {2}reconnecting {2}2 chars/);
      expect(told).toMatchObject([{ chars: 4, attempts: 2 }]);
      expect(terminal.lines.at(-1)).toMatch(/^✓ guide {2}complete .* 2 attempts$/);
    }),
  );

  it('knows connecting from waiting by the headers', async () => {
    const server = await startServer();
    const terminal = new FakeTerminal();
    const source = fromHTTP(server.url).pipe(map((chunk) => Buffer.from(chunk).toString()));
    const subscription = source
      .pipe(toTerminal({ stream: terminal, key: 'guide', maxFramesPerSecond: 60 }))
      .subscribe();
    const word = (): string => / {2}(\S+)/.exec(terminal.lines[0] ?? '')?.[1] ?? '';
    await vi.waitUntil(() => word() === 'connecting');
    const exchange = await server.accept();
    exchange.respond();
    await vi.waitUntil(() => word() === 'waiting');
    await exchange.write('words');
    await vi.waitUntil(() => word() === 'streaming');
    subscription.unsubscribe();
    await server.close();
  });
});

describe('the line that stays', () => {
  const endOf = (events: readonly StreamEvent[], terminal = new FakeTerminal({ columns: 120 })): string[] => {
    fromCall(fakeCall(events))
      .pipe(
        toTerminal({ key: 'guide', stream: terminal }),
        catchError(() => EMPTY),
      )
      .subscribe();
    return terminal.lines;
  };
  const spent: StreamEvent = {
    type: 'usage',
    inputTokens: 20,
    outputTokens: 1_312,
    cost: { total: 0.002_134_5, currency: 'USD' },
    provenance: 'reported',
  };

  it(
    'has usage and cost',
    still(() => {
      expect(endOf([text('abc'), spent, finish])).toEqual([
        '✓ guide  complete  0.00 s  3 chars  1,312 tokens  0.00213 USD  first 0.00 s',
      ]);
    }),
  );

  it(
    'says that usage is a part only',
    still(() => {
      expect(endOf([text('abc'), spent])[0]).toContain('1,312 tokens so far');
    }),
  );

  it(
    'says why a complete answer is no whole text',
    still(() => {
      expect(endOf([text('abc'), { type: 'finish', reason: 'length' }])[0]).toMatch(/^✓ guide {2}complete \(length\)/);
    }),
  );

  it(
    'keeps what tells most where there is little room',
    still(() => {
      const [line] = endOf([text('abc'), spent, finish], new FakeTerminal({ columns: 40 }));
      expect(line).toBe('✓ guide  complete  0.00 s  3 chars');
    }),
  );

  it(
    'breaks a long reason between words',
    still(() => {
      const terminal = new FakeTerminal({ columns: 40 });
      throwError(() => new Error('the river has frozen over and nothing turns\nany more'))
        .pipe(
          toTerminal({ key: 'guide', stream: terminal }),
          catchError(() => EMPTY),
        )
        .subscribe();
      expect(terminal.lines).toEqual([
        '✗ guide  failed  0.00 s',
        '         the river has frozen over and',
        '         nothing turns any more',
      ]);
    }),
  );

  it.each([undefined, null, 'a word'])('of a stream that threw %s is there too', (thrown) => {
    const terminal = new FakeTerminal();
    const errors: unknown[] = [];
    throwError(() => thrown as unknown)
      .pipe(toTerminal({ key: 'guide', stream: terminal }))
      .subscribe({ error: (error: unknown) => errors.push(error) });
    expect(errors).toEqual([thrown]);
    expect(terminal.lines.at(-1)?.trim()).toBe(String(thrown));
  });
});

describe('several streams', () => {
  it(
    'share the rows of one terminal, in the order of their beginning',
    marbles((m) => {
      const terminal = new FakeTerminal();
      const [one, two] = [show({ key: 'one' }, terminal), show({ key: 'number two' }, terminal)];
      const seen = lookAt(terminal, 250, 350, 450);
      at({
        20: () => {
          one.source.next('first');
        },
        30: () => {
          two.source.next('second');
        },
        310: () => {
          one.source.complete();
        },
        420: () => {
          two.source.error(new Error('ill'));
        },
      });
      m.flush();
      expect(seen.map(rows)).toEqual([
        [
          '* one         streaming  5 chars  0/s  first 0.02 s  first',
          '* number two  streaming  6 chars  0/s  first 0.03 s  second',
        ],
        [
          '* one         streaming  5 chars  0/s  first 0.02 s  first',
          '* number two  streaming  6 chars  0/s  first 0.03 s  second',
        ],
        [
          '✓ one         complete  0.31 s  5 chars  first 0.02 s',
          '✗ number two  failed  0.42 s  6 chars  first 0.03 s',
          '              ill',
        ],
      ]);
      expect(one.receipts).toMatchObject([{ key: 'one', timings: { totalMs: 310 } }]);
      expect(two.errors).toMatchObject([{ receipt: { key: 'number two' } }]);
      expect(terminal.isCursorHidden).toBe(false);
      expect(terminal.listeners4).toEqual([0, 0, 0, 0]);
    }),
  );

  it(
    'hide the cursor once, and show it when the last has ended',
    marbles((m) => {
      const terminal = new FakeTerminal();
      const [one, two] = [show({ key: 'one' }, terminal), show({ key: 'two' }, terminal)];
      at({
        150: () => {
          one.subscription.unsubscribe();
        },
        250: () => {
          expect(terminal.isCursorHidden).toBe(true);
          two.subscription.unsubscribe();
          expect(terminal.isCursorHidden).toBe(false);
        },
      });
      m.flush();
      expect(terminal.text.split('\u001b[?25l')).toHaveLength(2);
      expect(terminal.text.split('\u001b[?25h')).toHaveLength(2);
    }),
  );

  it(
    'that are over before the first frame are lines only',
    marbles((m) => {
      const terminal = new FakeTerminal();
      const quick = from(['a', 'b', 'c']).pipe(
        mergeMap((key) => of('text').pipe(delay(10), toTerminal({ key, stream: terminal }))),
      );
      m.expect(quick.pipe(map(({ key = '' }) => key))).toBeObservable('10ms (abc|)');
      m.flush();
      expect(terminal.lines).toEqual([
        '✓ a  complete  0.01 s  4 chars  first 0.01 s',
        '✓ b  complete  0.01 s  4 chars  first 0.01 s',
        '✓ c  complete  0.01 s  4 chars  first 0.01 s',
      ]);
      expect(terminal.text).not.toContain('\u001b[?25');
    }),
  );

  it(
    'that are more than there is room for are summed up',
    marbles((m) => {
      const terminal = new FakeTerminal({ rows: 10 });
      const all = Array.from({ length: 14 }, (_, n) => show({ key: `s${String(n)}` }, terminal));
      const seen = lookAt(terminal, 150, 350);
      at({
        20: () => {
          all[12]?.source.next('text');
        },
        310: () => {
          for (const { source } of all.slice(0, 10)) source.complete();
        },
        360: () => {
          for (const { source } of all) source.complete();
        },
      });
      m.flush();
      expect(rows(seen[0])).toEqual([
        ...[0, 1, 2, 3].map((n) => `* s${String(n)}  waiting  0.10 s`),
        '+ 10 more  9 waiting, 1 streaming',
      ]);
      expect(terminal.lines).toHaveLength(14);
    }),
  );

  it(
    'have as many rows as they are given',
    marbles((m) => {
      const terminal = new FakeTerminal({ rows: 10 });
      const options = { maxRows: 2, stream: terminal };
      const all = Array.from({ length: 4 }, (_, n) => show({ ...options, key: `s${String(n)}` }, terminal));
      const seen = lookAt(terminal, 150);
      at({
        160: () => {
          for (const { subscription } of all) subscription.unsubscribe();
        },
      });
      m.flush();
      expect(rows(seen[0])).toEqual(['* s0  waiting  0.10 s', '+ 3 more  3 waiting']);
    }),
  );

  it.each([1, 2, 3])('never take more rows than a screen of %i has', (height) => {
    marbles((m) => {
      const terminal = new FakeTerminal({ rows: height });
      const all = Array.from({ length: 4 }, (_, n) => show({ maxRows: 100, key: `s${String(n)}` }, terminal));
      const seen = lookAt(terminal, 150, 250, 350);
      at({
        360: () => {
          for (const { source } of all) source.complete();
        },
      });
      m.flush();
      for (const lines of seen) expect(lines.length).toBeLessThanOrEqual(Math.max(1, height - 1));
      expect(terminal.lines).toHaveLength(4);
    })();
  });
});

describe('streams that their items name', () => {
  it(
    'have a row each, and one receipt together',
    marbles((m) => {
      const terminal = new FakeTerminal();
      const slow = concat(of(text('slow')).pipe(delay(20)), of(text(' one')).pipe(delay(300)), of(finish));
      const quick = concat(of(text('quick')).pipe(delay(150)), of(finish));
      const source = mergeStreams({ east: fromCall(fakeCall(slow)), north: fromCall(fakeCall(quick)) });
      const seen = lookAt(terminal, 101, 110, 210);
      m.expect(
        source.pipe(
          toTerminal({ stream: terminal }),
          map(({ key, chars, outcome }) => ({ key, chars, outcome })),
        ),
      ).toBeObservable('320ms (r|)', { r: { key: undefined, chars: 13, outcome: 'complete' } });
      m.flush();
      expect(seen.map(rows)).toEqual([
        ['* east  streaming  4 chars  first 0.02 s  slow', '+ 1 more  1 connecting'],
        ['* east  streaming  4 chars  first 0.02 s  slow', '+ 1 more  1 connecting'],
        ['✓ north  complete  0.15 s  5 chars  first 0.15 s', '* east  streaming  4 chars  0/s  first 0.02 s  slow'],
      ]);
      expect(terminal.lines).toEqual([
        '✓ north  complete  0.15 s  5 chars  first 0.15 s',
        '✓ east  complete  0.32 s  8 chars  first 0.02 s',
      ]);
    }),
  );

  it('are one row as long as nobody knows their names', () => {
    marbles((m) => {
      const terminal = new FakeTerminal();
      const source = mergeStreams({ east: fromCall(fakeCall(NEVER)), north: fromCall(fakeCall(NEVER)) });
      const seen = lookAt(terminal, 150);
      const subscription = source.pipe(toTerminal({ stream: terminal })).subscribe();
      at({
        160: () => {
          subscription.unsubscribe();
        },
      });
      m.flush();
      expect(rows(seen[0])).toEqual(['* fake  connecting  0.10 s']);
    })();
  });

  it(
    'stand behind the name of the sink, where it has one',
    still(() => {
      const terminal = new FakeTerminal({ isTTY: false });
      of(keyed('east', text('a')), keyed('east', finish))
        .pipe(toTerminal({ stream: terminal, key: 'all' }))
        .subscribe();
      expect(terminal.lines[0]).toBe('[all/east] started');
    }),
  );

  it(
    'fail each with an error of its own',
    still(() => {
      const terminal = new FakeTerminal();
      const failing = (message: string): Observable<StreamEvent> =>
        concat(
          of(text('a')),
          throwError(() => new ProviderError(message, { retryable: false })),
        );
      const source = mergeStreams(
        {
          east: fromCall(fakeCall(failing('no power'))),
          north: fromCall(fakeCall([text('bc'), finish])),
          // It fails before anything of it was told.
          south: throwError(() => new Error('no route')),
        },
        { onFailure: 'continue' },
      );
      const errors: unknown[] = [];
      source.pipe(toTerminal({ stream: terminal })).subscribe({ error: (error: unknown) => errors.push(error) });
      expect(errors).toMatchObject([{ code: 'ERR_STREAMS_FAILED', receipt: { outcome: 'failed', chars: 3 } }]);
      expect(terminal.lines).toEqual([
        '✓ north  complete  0.00 s  2 chars  first 0.00 s',
        '✗ east  failed  0.00 s  1 char  first 0.00 s',
        '        no power',
        '✗ south  failed  0.00 s',
        '         no route',
      ]);
    }),
  );

  it(
    'are stopped by the failure of one, which says why',
    still(() => {
      const terminal = new FakeTerminal();
      const bad = new Subject<StreamEvent>();
      const source = mergeStreams({
        east: fromCall(fakeCall(concat(of(text('a')), NEVER))),
        north: fromCall(fakeCall(concat(of(text('bc')), bad))),
      });
      const errors: unknown[] = [];
      source.pipe(toTerminal({ stream: terminal })).subscribe({ error: (error: unknown) => errors.push(error) });
      const error = new ProviderError('no power', { retryable: false });
      bad.error(error);
      expect(errors).toEqual([error]);
      expect(terminal.lines.map((line) => line.replace(/ {2}0\.0.*/, ''))).toEqual([
        '■ east   stopped',
        '✗ north  failed',
        '         no power',
      ]);
    }),
  );

  it(
    'are stopped by the failure of one that had told nothing, which says why too',
    still(() => {
      const terminal = new FakeTerminal();
      const source = mergeStreams({
        east: concat(of(text('a')), NEVER),
        north: throwError(() => new Error('no route')),
      });
      source.pipe(toTerminal({ stream: terminal, key: 'all' })).subscribe({ error: () => undefined });
      expect(terminal.lines.map((line) => line.replace(/ {2}0\.0.*/, ''))).toEqual([
        '■ all/east  stopped',
        '✗ all  failed',
        '       no route',
      ]);
    }),
  );

  it(
    'that failed are not complete because somebody else was told of it',
    still(() => {
      const terminal = new FakeTerminal();
      const cut = concat(
        of(text('a')),
        throwError(() => new InterruptedError('cut')),
      );
      const source = mergeStreams(
        { east: fromCall(fakeCall(cut)), north: fromCall(fakeCall([text('b'), finish])) },
        { onFailure: 'continue', onSettled: () => undefined },
      );
      source.pipe(toTerminal({ stream: terminal })).subscribe();
      expect(terminal.lines.map((line) => line.slice(0, 15))).toEqual(['✓ north  comple', '✗ east  failed ']);
    }),
  );

  it(
    'are left together',
    still(() => {
      const terminal = new FakeTerminal();
      const source = mergeStreams({ east: concat(of(text('a')), NEVER), north: concat(of(text('b')), NEVER) });
      source
        .pipe(toTerminal({ stream: terminal }))
        .subscribe()
        .unsubscribe();
      expect(terminal.lines.map((line) => line.slice(0, 16))).toEqual(['■ east   stopped', '■ north  stopped']);
    }),
  );
});

describe('logs and warnings', () => {
  it(
    'are printed above the rows, by name and in order',
    marbles((m) => {
      const { terminal, source, subscription } = show({ key: 'paint' });
      const seen = lookAt(terminal, 250);
      at({
        120: () => {
          source.next(log('loading\n  the model\n'));
          source.next(log('10 %\r20 %\r'));
          source.next({ type: 'warning', code: 'frame-skipped', message: 'not JSON' });
          source.next(text('a'));
          source.next(restart);
        },
        260: () => {
          subscription.unsubscribe();
        },
      });
      m.flush();
      expect(rows(seen[0])).toEqual([
        '│ paint  loading',
        '│ paint    the model',
        '│ paint  20 %',
        '! paint  frame-skipped: not JSON',
        '↺ paint  begins anew: a cut',
        '* paint  waiting  0.20 s',
      ]);
    }),
  );

  it(
    'beyond the bound are counted and left out',
    marbles((m) => {
      const { terminal, source, subscription } = show({ key: 'a', maxLogLinesPerSecond: 3 }, new FakeTerminal());
      at({
        10: () => {
          for (let n = 0; n < 1_000; n += 1) source.next(log(`line ${String(n)}`));
        },
        // One line's worth of time.
        400: () => {
          source.next(log('later'));
          source.next(log('too soon'));
        },
        500: () => {
          subscription.unsubscribe();
        },
      });
      m.flush();
      expect(terminal.lines).toEqual([
        '│ a  line 0',
        '│ a  line 1',
        '│ a  line 2',
        '… 997 lines left out',
        '│ a  later',
        '… 1 line left out',
        expect.stringMatching(/^■ a {2}stopped/),
      ]);
    }),
  );

  it(
    'longer than a screen are all there',
    marbles((m) => {
      const { terminal, source, subscription } = show({ key: 'a' }, new FakeTerminal({ rows: 5 }));
      at({
        10: () => {
          for (let n = 0; n < 60; n += 1) source.next(log(`line ${String(n)}`));
        },
        250: () => {
          subscription.unsubscribe();
        },
      });
      m.flush();
      expect(terminal.lines.slice(0, 60)).toEqual(Array.from({ length: 60 }, (_, n) => `│ a  line ${String(n)}`));
    }),
  );

  it(
    'of endless lines are cut',
    marbles((m) => {
      const { terminal, source, subscription } = show({ key: 'a' }, new FakeTerminal({ columns: 100_000 }));
      at({
        10: () => {
          source.next(log('x'.repeat(1_000_000)));
        },
        150: () => {
          subscription.unsubscribe();
        },
      });
      m.flush();
      expect(terminal.lines[0]).toBe(`│ a  ${'x'.repeat(2_000)}…`);
    }),
  );
});

describe('frames', () => {
  it(
    'are no more than asked for, however much comes',
    marbles((m) => {
      const { terminal, source } = show({ maxFramesPerSecond: 5 });
      const counts: number[] = [];
      asyncScheduler.schedule<number>(function (n = 0) {
        source.next(`word ${String(n)} `);
        if (n === 1_999) source.complete();
        else this.schedule(n + 1, 1);
      });
      at({ 1_000: () => counts.push(terminal.pieces.length), 2_000: () => counts.push(terminal.pieces.length) });
      m.flush();
      expect(counts).toEqual([5, 10]); // the tenth is the end
    }),
  );

  it(
    'stop with the stream: no timer is left',
    marbles((m) => {
      const { terminal, source } = show();
      at({
        150: () => {
          source.complete();
        },
      });
      m.flush();
      const writes = terminal.pieces.length;
      asyncScheduler.schedule(() => undefined, 10_000);
      m.flush();
      expect(terminal.pieces).toHaveLength(writes);
    }),
  );

  it(
    'are left out while the terminal is busy, and nobody is paused',
    marbles((m) => {
      const terminal = new FakeTerminal();
      const source = pausable(['a', 'b', 'c']);
      const { source: other, receipts } = show({ key: 'other' }, terminal);
      const all = concat(source.source, NEVER).pipe(toTerminal({ key: 'guide', stream: terminal }));
      const subscription = all.subscribe();
      const counts: number[] = [];
      at({
        90: () => {
          terminal.hasRoom = false;
        },
        950: () => {
          counts.push(terminal.pieces.length);
          other.complete();
          expect(receipts).toEqual([]); // its line is not out
          terminal.hasRoom = true;
          terminal.emit('drain');
          counts.push(terminal.pieces.length);
          expect(receipts).toHaveLength(1);
        },
        1_050: () => {
          counts.push(terminal.pieces.length);
          subscription.unsubscribe();
        },
      });
      m.flush();
      expect(counts).toEqual([1, 2, 3]);
      expect(source.told).toEqual([]);
      expect(source.given).toBe(3);
      expect(terminal.lines[0]).toMatch(/^✓ other/);
    }),
  );

  it(
    'of a terminal that stays busy end with it',
    marbles((m) => {
      const terminal = new FakeTerminal();
      let written: () => void = () => undefined;
      terminal.onWrite = (done): void => {
        written = done;
      };
      terminal.hasRoom = false;
      const { source, receipts } = show({}, terminal);
      at({
        500: () => {
          source.complete();
          expect(receipts).toEqual([]);
          expect(terminal.listeners4.slice(0, 3)).toEqual([1, 1, 1]);
        },
        700: () => {
          written();
        },
      });
      m.flush();
      expect(receipts).toMatchObject([{ timings: { totalMs: 700 } }]);
      expect(terminal.listeners4).toEqual([0, 0, 0, 0]);
      expect(terminal.lines).toHaveLength(1);
      expect(terminal.isCursorHidden).toBe(false);
    }),
  );

  it(
    'wait until a new size has settled, and take back all rows that became of the old ones',
    marbles((m) => {
      const { terminal, source, subscription } = show();
      const counts: number[] = [];
      const count = (): void => void counts.push(terminal.pieces.length);
      at({
        50: () => {
          source.next('a long line of text that is much wider than thirty columns');
        },
        250: () => {
          count();
          terminal.resize(60);
        },
        450: () => {
          count();
          terminal.resize(30);
        },
        740: count,
        860: count,
        870: () => {
          subscription.unsubscribe();
        },
      });
      m.flush();
      expect(counts).toEqual([2, 2, 2, 3]);
      // A row of 79 columns is three rows of 30.
      expect(terminal.pieces[2]?.split(ROW_UP)).toHaveLength(4);
      expect(terminal.pieces[2]?.split(ROW_UP)[0]).toBe('\u001b[?2026h');
    }),
  );

  it.each([
    [{ XTERM_VERSION: 'XTerm(379)' }, 1],
    [{ TERM: 'linux' }, 1],
    [{ STY: '1.pts' }, 1],
    [{ STY: '1.pts', TMUX: '/tmp/tmux' }, 3],
  ])('take back one row where a terminal cuts its lines: %j', (env, expected) => {
    for (const name of ['XTERM_VERSION', 'STY', 'TMUX']) vi.stubEnv(name, undefined);
    for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
    marbles((m) => {
      const { terminal, source, subscription } = show();
      at({
        50: () => {
          source.next('a long line of text that is much wider than thirty columns');
        },
        250: () => {
          terminal.resize(30);
        },
        650: () => {
          subscription.unsubscribe();
        },
      });
      m.flush();
      expect(terminal.pieces[2]?.split(ROW_UP)).toHaveLength(expected + 1);
    })();
  });

  it('know nothing of a size that an output does not know', () => {
    marbles((m) => {
      const terminal = new FakeTerminal({ columns: 0, rows: 0 });
      const { source, subscription } = show({}, terminal);
      const seen = lookAt(terminal, 150);
      terminal.columns = 0;
      at({
        50: () => {
          source.next('a');
        },
        160: () => {
          subscription.unsubscribe();
        },
      });
      m.flush();
      expect(seen).toHaveLength(1);
      expect(terminal.text).toContain('streaming');
    })();
  });

  it('cost the same however long the streams are', () => {
    marbles((m) => {
      const { source, receipts } = show();
      const piece = text('some words of a long answer, 谢谢 ');
      at({
        10: () => {
          for (let n = 0; n < 300_000; n += 1) source.next(piece);
        },
        250: () => {
          source.complete();
        },
      });
      m.flush();
      expect(receipts).toMatchObject([{ chars: 300_000 * 32 }]);
    })();
  });
});

describe('lines', () => {
  const pipe = (): FakeTerminal => new FakeTerminal({ isTTY: false });
  const story = [
    status('queued'),
    status('queued'),
    status('running'),
    progress(1, 50),
    progress(5, 50, 'warming up'),
    progress(6, 50),
    progress(25, 50),
    log('loading\nthe model'),
    thinking('hm'),
    text('The mill '),
    text('stands.'),
    { type: 'warning', code: 'frame-skipped', message: 'not JSON' },
    restart,
    text('The mill.'),
    usage(12),
    finish,
  ] as const satisfies readonly StreamEvent[];
  const told = [
    '[guide] started',
    '[guide] status: queued',
    '[guide] status: running',
    '[guide] progress: 10 % (5 of 50) warming up',
    '[guide] progress: 50 % (25 of 50)',
    '[guide] first content after 0.00 s',
    '[guide] | loading',
    '[guide] | the model',
    '[guide] warning: frame-skipped: not JSON',
    '[guide] begins anew: a cut',
    '[guide] complete after 0.00 s, 9 chars, 12 tokens, first 0.00 s',
  ];

  it.each<[string, boolean, Readonly<Record<string, string>>, ToTerminalOptions]>([
    ['a pipe', false, {}, {}],
    ['the log of a CI job', true, { CI: 'true' }, {}],
    ['a terminal that cannot move its cursor', true, { TERM: 'dumb' }, {}],
    ['whoever asks for them', true, {}, { mode: 'lines' }],
  ])('without escape codes are for %s', (_, isTTY, env, options) => {
    for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
    const terminal = new FakeTerminal({ isTTY });
    still(() => {
      fromCall(fakeCall(story))
        .pipe(toTerminal({ key: 'guide', stream: terminal, ...options }))
        .subscribe();
    })();
    expect(terminal.text).toBe(`${told.join('\n')}\n`);
    expect(terminal.listeners4).toEqual([0, 0, 0, 0]);
  });

  it.each(['', '0', 'false'])('are not for a terminal where CI is %j', (ci) => {
    vi.stubEnv('CI', ci);
    const { terminal, subscription } = show();
    subscription.unsubscribe();
    expect(terminal.text).toContain('■');
  });

  it(
    'are not for a pipe that is to be drawn on',
    still(() => {
      const { terminal, subscription } = show({ mode: 'live' }, pipe());
      subscription.unsubscribe();
      expect(terminal.text).toContain('■');
    }),
  );

  it(
    'tell progress without a total at each doubling',
    still(() => {
      const terminal = pipe();
      from(Array.from({ length: 1_000 }, (_, n) => progress(n + 1)))
        .pipe(toTerminal({ key: 'a', stream: terminal }))
        .subscribe();
      const steps = terminal.lines.filter((line) => line.includes('progress'));
      expect(steps.map((line) => line.slice(14))).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 512].map(String));
    }),
  );

  it(
    'tell each tenth of a total once, and nothing of numbers that are none',
    still(() => {
      const terminal = pipe();
      const wrong = [progress(Number.NaN, 10), progress(-1, 10), progress(1, 0), progress(1, Infinity)];
      from([...wrong, ...Array.from({ length: 1_000 }, (_, n) => progress(n + 1, 1_000))])
        .pipe(toTerminal({ key: 'a', stream: terminal }))
        .subscribe();
      const steps = terminal.lines.filter((line) => line.includes('%'));
      expect(steps).toHaveLength(10);
      expect(steps.at(-1)).toBe('[a] progress: 100 % (1,000 of 1,000)');
    }),
  );

  it(
    'pause the stream that writes them until there is room',
    still(() => {
      const terminal = pipe();
      terminal.hasRoom = false;
      const source = pausable([log('a'), log('b'), finish]);
      const receipts: Receipt[] = [];
      source.source.pipe(toTerminal({ key: 'x', stream: terminal })).subscribe((one) => receipts.push(one));
      expect(terminal.lines).toEqual(['[x] started', '[x] first content after 0.00 s', '[x] | a']);
      expect(source.told).toEqual([true]);
      terminal.emit('drain');
      expect(terminal.lines.at(-1)).toBe('[x] | b');
      terminal.hasRoom = true;
      terminal.emit('drain');
      expect(receipts).toHaveLength(1);
      expect(source.told).toEqual([true, false, true, false]);
    }),
  );

  it(
    'release the stream when the sink leaves',
    still(() => {
      const terminal = pipe();
      terminal.hasRoom = false;
      const source = pausable([log('a'), log('b')]);
      const shared = source.source.pipe(share());
      const others: unknown[] = [];
      const subscription = shared.pipe(toTerminal({ stream: terminal })).subscribe();
      shared.subscribe((event) => others.push(event));
      expect(source.flow.paused).toBe(true);
      subscription.unsubscribe();
      expect(source.flow.paused).toBe(false);
    }),
  );

  it(
    'wait for their last byte',
    still(() => {
      const terminal = pipe();
      const waiting: (() => void)[] = [];
      terminal.onWrite = (written): void => void waiting.push(written);
      const receipts: Receipt[] = [];
      of('a')
        .pipe(toTerminal({ stream: terminal }))
        .subscribe((one) => receipts.push(one));
      expect(receipts).toEqual([]);
      for (const written of waiting.slice(0, -1)) written();
      expect(receipts).toEqual([]);
      waiting.at(-1)?.();
      expect(receipts).toHaveLength(1);
    }),
  );

  it('of many sinks go through a real pipe', async () => {
    const output = new PassThrough();
    const ended = Promise.all(
      ['a', 'b'].map(
        (key) =>
          new Promise<void>((resolve) => {
            of('text')
              .pipe(toTerminal({ key, stream: output }))
              .subscribe({ complete: resolve });
          }),
      ),
    );
    await ended;
    expect(String(output.read()).split('\n')).toHaveLength(7);
  });
});

describe('colours', () => {
  const drawn = (mode: 'live' | 'lines'): string => {
    const { terminal, subscription } = show({ mode });
    subscription.unsubscribe();
    return terminal.text;
  };
  // eslint-disable-next-line no-control-regex -- escape sequences are what it looks for
  const COLOR = /\u001b\[\d+m/;

  it.each<[Readonly<Record<string, string>>, boolean, boolean]>([
    [{}, true, false],
    [{ NO_COLOR: '1' }, false, false],
    [{ NO_COLOR: '' }, true, false],
    [{ FORCE_COLOR: '1' }, true, true],
    [{ FORCE_COLOR: '' }, true, true],
    [{ FORCE_COLOR: '0' }, false, false],
    [{ FORCE_COLOR: 'false' }, false, false],
    [{ FORCE_COLOR: '1', NO_COLOR: '1' }, false, false],
  ])('with %j are in a live view: %s, in lines: %s', (env, live, lines) => {
    for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
    expect(COLOR.test(drawn('live'))).toBe(live);
    expect(COLOR.test(drawn('lines'))).toBe(lines);
  });
});

describe('text from outside', () => {
  const hostile = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 40 }),
    fc
      .array(
        fc.constantFrom(
          '\u001b[2J',
          '\u001b]0;title\u0007',
          '\u001b]52;c;AAAA\u001b\\',
          '\u001bP1;2|x\u001b\\',
          '\u001b[31m',
          '\u009b2J',
          '\u009d0;t\u009c',
          '\u001b',
          '\u001bc',
          '\r',
          '\n',
          '\t',
          '\b',
          '\u0007',
          '\u202e',
          '\u2066',
          '\u200f',
          '\u061c',
          '\ud800',
          '\udc00',
          '\u2028',
          '\ufeff',
          '谢',
          '👩‍🚀',
          'e\u0301',
          'plain text ',
        ),
        { maxLength: 12 },
      )
      .map((parts) => parts.join('')),
  );
  const event = fc.oneof<fc.Arbitrary<StreamEvent>[]>(
    hostile.filter((content) => content !== '').map(text),
    hostile.map(thinking),
    hostile.map(log),
    hostile.map(status),
    fc.tuple(fc.double(), fc.double(), hostile).map(([a, b, message]) => progress(a, b, message)),
    hostile.map((comment) => ({ type: 'heartbeat', comment })),
    hostile.map((message) => ({ type: 'warning', code: message, message })),
    hostile.map((because) => ({ type: 'restart', attempt: 2, because, discard: { chars: 0 } })),
    hostile.map((name) => ({ type: 'tool-call-delta', index: 0, id: name, name, argumentsDelta: name })),
    hostile.map((name) => ({ type: 'tool-call', index: 0, id: name, name, arguments: {}, argumentsText: name })),
    hostile.map((name) => ({ type: 'tool-result', index: 0, id: name, name, result: name })),
    hostile.map((kind) => ({ type: 'media', kind, content: kind, index: 0, name: kind })),
    hostile.map((value) => ({ type: 'output', value, final: false })),
    hostile.map((currency) => ({ type: 'usage', provenance: 'reported', cost: { total: 1, currency } })),
  );

  // The terminal of these tests refuses every control character and every sequence that is not ours.
  it.each(['live', 'lines'] as const)('cannot reach the terminal’s controls: %s', (mode) => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(event, fc.boolean()), { maxLength: 20 }),
        hostile,
        hostile,
        fc.integer({ min: 1, max: 130 }),
        (events, key, message, columns) => {
          marbles((m) => {
            const terminal = new FakeTerminal({ columns, rows: 6, isTTY: mode === 'live' });
            const { source, errors } = show({ key, mode }, terminal);
            at({
              50: () => {
                for (const [item, isKeyed] of events) source.next(isKeyed ? keyed(`${key}${item.type}`, item) : item);
              },
              250: () => {
                source.error(new Error(message));
              },
            });
            m.flush();
            expect(errors).toMatchObject([{ message }]);
            expect(terminal.isCursorHidden).toBe(false);
            if (mode === 'lines') expect(terminal.text).not.toContain('\u001b');
          })();
        },
      ),
    );
  });

  it(
    'loses whole sequences, and no letter beside them',
    still(() => {
      const terminal = new FakeTerminal({ isTTY: false });
      of(log('\u001b[1;31mred\u001b[0m \u001b]8;;http://a.example\u0007link\u001b]8;;\u0007 \u202eevil\u202c [0m'))
        .pipe(toTerminal({ key: 'a', stream: terminal }))
        .subscribe();
      expect(terminal.lines[2]).toBe('[a] | red link evil [0m');
    }),
  );
});

describe('an output that is lost', () => {
  const refusal = (code: string): Error => Object.assign(new Error(`${code}: refused by the test`), { code });

  it.each<['live' | 'lines', string]>([
    ['live', 'EPIPE'],
    ['live', 'EIO'],
    ['live', 'ERR_STREAM_DESTROYED'],
    ['lines', 'EPIPE'],
  ])('%s by %s stops its streams, whose receipts say so', (mode, code) => {
    const terminal = new FakeTerminal();
    const [one, two] = [show({ mode, key: 'one' }, terminal), show({ mode, key: 'two' }, terminal)];
    one.source.next('abc');
    terminal.emit('error', refusal(code));
    expect(one.receipts).toMatchObject([{ outcome: 'stopped', by: 'reader', chars: 3 }]);
    expect(two.receipts).toMatchObject([{ outcome: 'stopped', by: 'reader' }]);
    expect(one.source.observed).toBe(false);
    terminal.emit('error', refusal(code)); // of another write that was under way
    expect(terminal.listeners4).toEqual([0, 0, 1, 0]);
  });

  it.each<'live' | 'lines'>(['live', 'lines'])('%s because it was closed stops them too', (mode) => {
    const { terminal, receipts, source } = show({ mode });
    terminal.emit('close');
    expect(receipts).toMatchObject([{ outcome: 'stopped', by: 'reader' }]);
    expect(source.observed).toBe(false);
    expect(terminal.listeners4).toEqual([0, 0, 0, 0]);
  });

  it.each<'live' | 'lines'>(['live', 'lines'])('%s for another reason is a SinkError', (mode) => {
    const { terminal, errors, source } = show({ mode });
    const refused = refusal('ENOSPC');
    terminal.emit('error', refused);
    expect(errors).toMatchObject([
      {
        code: 'ERR_SINK',
        cause: refused,
        receipt: { outcome: 'failed', where: 'terminal', error: { name: 'SinkError' } },
      },
    ]);
    expect(errors[0]).toBeInstanceOf(SinkError);
    expect(source.observed).toBe(false);
  });

  it.each<'live' | 'lines'>(['live', 'lines'])('%s because it throws is a SinkError too', (mode) => {
    marbles((m) => {
      const terminal = new FakeTerminal();
      terminal.onWrite = (): void => {
        throw new TypeError('thrown by the test');
      };
      const { errors, source } = show({ mode }, terminal);
      m.flush();
      expect(errors).toMatchObject([{ code: 'ERR_SINK', cause: { message: 'thrown by the test' } }]);
      expect(source.observed).toBe(false);
    })();
  });

  it(
    'under a frame is told by the write',
    marbles((m) => {
      const terminal = new FakeTerminal();
      terminal.onWrite = (written): void => {
        written(refusal('EIO'));
      };
      const { receipts, source } = show({}, terminal);
      m.flush();
      expect(receipts).toMatchObject([{ outcome: 'stopped', by: 'reader', timings: { totalMs: 100 } }]);
      expect(source.observed).toBe(false);
    }),
  );

  it(
    'under the last line does not hide how the stream ended',
    marbles((m) => {
      const terminal = new FakeTerminal();
      let written: (error?: Error) => void = () => undefined;
      terminal.onWrite = (done): void => {
        written = done;
      };
      const { errors, source } = show({}, terminal);
      const error = new ProviderError('ill', { retryable: false });
      source.error(error);
      expect(errors).toEqual([]);
      written(refusal('EPIPE'));
      m.flush();
      expect(errors).toEqual([error]);
      expect(error.receipt).toMatchObject({ outcome: 'failed' });
      expect(terminal.listeners4).toEqual([0, 0, 1, 0]);
    }),
  );
});

describe('wrong arguments', () => {
  it.each<[string, unknown, typeof TypeError | typeof RangeError]>([
    ['key', 4, TypeError],
    ['mode', 'colour', TypeError],
    ['maxFramesPerSecond', 0, RangeError],
    ['maxFramesPerSecond', 61, RangeError],
    ['maxFramesPerSecond', Number.NaN, RangeError],
    ['maxRows', 0, RangeError],
    ['maxRows', 1.5, RangeError],
    ['maxLogLinesPerSecond', 0, RangeError],
  ])('%s: %s is refused at once', (name, value, kind) => {
    const options = { [name]: value } as ToTerminalOptions; // what a caller in JavaScript may write
    expect(() => toTerminal(options)).toThrow(kind);
    expect(() => toTerminal(options)).toThrow(name);
  });

  it(
    'is no output of one’s own',
    still(() => {
      const output: TerminalOutput = new PassThrough();
      expect(() => toTerminal({ stream: output })).not.toThrow();
    }),
  );
});
