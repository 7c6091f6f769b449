import { spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import * as fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { PassThrough, Writable } from 'node:stream';
import {
  asyncScheduler,
  catchError,
  concat,
  EMPTY,
  lastValueFrom,
  map,
  merge,
  NEVER,
  type Observable,
  of,
  share,
  Subject,
  switchMap,
  take,
  takeUntil,
  tap,
  throwError,
} from 'rxjs';
import { afterEach, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { InterruptedError, ProviderError, SinkError } from '../../src/errors.js';
import type { TextOutput } from '../../src/internal/io.js';
import { stopOn } from '../../src/operators/stopOn.js';
import { tapReceipt } from '../../src/operators/tapReceipt.js';
import { toStdout, type ToStdoutOptions } from '../../src/sinks/toStdout.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { fromHTTP } from '../../src/sources/fromHTTP.js';
import { fakeCall } from '../../src/testing/fakeCall.js';
import { startServer, type TestServer } from '../../src/testing/startServer.js';
import type { OutputPlace, Receipt, StreamEvent } from '../../src/types.js';
import { bundle } from '../support/bundle.js';
import { marbles } from '../support/marbles.js';
import { pausable } from '../support/pausable.js';

afterEach(() => {
  vi.restoreAllMocks();
});

const EVENTS = ['error', 'close', 'drain'] as const;
const DIM = '\u001b[2m';
const UNDIM = '\u001b[22m';

type Written = (error?: Error | null) => void;

/** An output that says what it is told to say. */
class FakeOutput extends EventEmitter implements TextOutput {
  readonly isTTY: boolean;
  readonly pieces: string[] = [];
  hasRoom = true;
  /** What becomes of a write: done at once, unless the test says otherwise. */
  onWrite: (text: string, written: Written) => void = (_, written) => {
    written();
  };

  constructor(isTTY = false) {
    super();
    this.isTTY = isTTY;
  }

  get text(): string {
    return this.pieces.join('');
  }

  write(text: string, written: Written): boolean {
    this.pieces.push(text);
    this.onWrite(text, written);
    return this.hasRoom;
  }

  listeners3(): number[] {
    return EVENTS.map((event) => this.listenerCount(event));
  }
}

function refusal(code: string): Error {
  return Object.assign(new Error(`${code}: refused by the test`), { code });
}

const text = (content: string, place: Partial<OutputPlace> = {}): StreamEvent => ({
  type: 'text',
  text: content,
  index: 0,
  name: 'output',
  ...place,
});
const thinking = (content: string): StreamEvent => ({ type: 'thinking', text: content, index: 0, name: 'thinking' });
const finish: StreamEvent = { type: 'finish', reason: 'stop' };
const restart: StreamEvent = { type: 'restart', attempt: 2, because: 'a cut', discard: { chars: 1 } };
const answer = (...events: StreamEvent[]): Observable<StreamEvent> => fromCall(fakeCall([...events, finish]));

/** A receipt of a source without a flow, `totalMs` of virtual time after zero. */
const receipt = (more: Partial<Receipt>, totalMs: number): Receipt => ({
  where: 'stdout',
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

interface Watched {
  readonly receipts: Receipt[];
  readonly ended: Promise<unknown>;
  readonly receipt: Promise<Receipt>;
  unsubscribe(): void;
}

function run(source: Observable<StreamEvent | string>, stream: TextOutput, options?: ToStdoutOptions): Watched {
  const receipts: Receipt[] = [];
  let tell: (receipt: Receipt) => void = () => undefined;
  let unsubscribe: () => void = () => undefined;
  const told = new Promise<Receipt>((resolve) => (tell = resolve));
  const ended = new Promise<unknown>((resolve) => {
    const subscription = source.pipe(toStdout({ stream, ...options }), tapReceipt(tell)).subscribe({
      next: (one) => receipts.push(one),
      error: resolve,
      complete: () => {
        resolve('complete');
      },
    });
    unsubscribe = (): void => {
      subscription.unsubscribe();
    };
  });
  return { receipts, ended, receipt: told, unsubscribe };
}

/** What an answer looks like. */
async function shown(
  source: Observable<StreamEvent | string>,
  isTTY: boolean,
  options?: ToStdoutOptions,
): Promise<string> {
  const output = new FakeOutput(isTTY);
  await lastValueFrom(source.pipe(toStdout({ stream: output, ...options })));
  return output.text;
}

async function serve(): Promise<TestServer> {
  const server = await startServer();
  onTestFinished(() => server.close());
  return server;
}

const textFrom = (url: string): Observable<string> => fromHTTP(url).pipe(map((chunk) => Buffer.from(chunk).toString()));

describe('a stream', () => {
  it(
    'is printed as it comes, and its receipt emitted at its end',
    marbles((m) => {
      const output = new FakeOutput();
      const source = m.cold<string>('-a--b--|', { a: 'Hel', b: 'lo ž' });
      const subs = '                 ^------!';
      const expected = '             -------(r|)';
      m.expect(source.pipe(toStdout({ stream: output }))).toBeObservable(expected, {
        r: receipt({ chars: 7, bytes: 8 }, 7),
      });
      m.expect(source).toHaveSubscriptions(subs);
      m.flush();
      expect(output.pieces).toEqual(['Hel', 'lo ž']);
      expect(output.listeners3()).toEqual([0, 0, 0]);
    }),
  );

  it(
    'that never ends is never told',
    marbles((m) => {
      const output = new FakeOutput();
      const source = m.cold<string>('-a---', { a: 'a' });
      const subs = '                 ^----!';
      const expected = '             -----';
      m.expect(source.pipe(toStdout({ stream: output })), subs).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
      m.flush();
      expect(output.text).toBe('a');
      expect(output.listeners3()).toEqual([0, 0, 0]);
    }),
  );

  it(
    'that is empty has a receipt',
    marbles((m) => {
      const source = m.cold<string>('--|');
      const expected = '             --(r|)';
      m.expect(source.pipe(toStdout({ stream: new FakeOutput() }))).toBeObservable(expected, { r: receipt({}, 2) });
    }),
  );

  it(
    'that fails is its error, with the receipt',
    marbles((m) => {
      const output = new FakeOutput();
      const error = new ProviderError('ill', { retryable: false });
      const source = m.cold<string>('-a-#', { a: 'a' }, error);
      const subs = '                 ^--!';
      const expected = '             ---#';
      m.expect(source.pipe(toStdout({ stream: output }))).toBeObservable(expected, {}, error);
      m.expect(source).toHaveSubscriptions(subs);
      m.flush();
      expect(error.receipt).toStrictEqual(
        receipt(
          {
            chars: 1,
            bytes: 1,
            outcome: 'failed',
            error: { name: 'ProviderError', code: 'ERR_PROVIDER', message: 'ill' },
          },
          3,
        ),
      );
      expect(output.listeners3()).toEqual([0, 0, 0]);
    }),
  );

  it(
    'waits for its last byte',
    marbles((m) => {
      const output = new FakeOutput();
      output.onWrite = (_, written) => {
        asyncScheduler.schedule(() => {
          written();
        }, 5);
      };
      const source = m.cold<string>('-a-|', { a: 'a' });
      const subs = '                 ^--!';
      const expected = '             ------(r|)';
      m.expect(source.pipe(toStdout({ stream: output }))).toBeObservable(expected, {
        r: receipt({ chars: 1, bytes: 1 }, 6),
      });
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'that is cut is an InterruptedError',
    marbles((m) => {
      const source = m.cold<StreamEvent>('-a-|', { a: text('a') });
      const subs = '                      ^--!';
      const expected = '                  ---e';
      const told = fromCall(fakeCall(source)).pipe(
        toStdout({ stream: new FakeOutput() }),
        map(() => 'complete'),
        catchError((error: unknown) => of(error instanceof InterruptedError ? error.receipt?.outcome : error)),
        take(1),
      );
      m.expect(told).toBeObservable(expected.replace('e', '(e|)'), { e: 'interrupted' });
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'may be printed to two outputs at once',
    marbles((m) => {
      const [one, two] = [new FakeOutput(), new FakeOutput()];
      const source = m.hot<string>('-a--b|', { a: 'a', b: 'b' });
      const all = merge(source.pipe(toStdout({ stream: one })), source.pipe(toStdout({ stream: two })));
      m.expect(all.pipe(map(({ chars }) => chars))).toBeObservable('-----(22|)', { 2: 2 } as never);
      m.expect(source).toHaveSubscriptions(['^----!', '^----!']);
      m.flush();
      expect([one.text, two.text]).toEqual(['ab', 'ab']);
    }),
  );

  it('may come in one turn, and be taken in part', async () => {
    const output = new FakeOutput();
    expect(await lastValueFrom(of('a', 'b', 'c').pipe(take(2), toStdout({ stream: output })))).toMatchObject({
      chars: 2,
    });
    expect(output.text).toBe('ab');
  });

  it('may be fed from its own output', async () => {
    const output = new FakeOutput();
    const source = new Subject<string>();
    output.onWrite = (piece, written) => {
      if (piece === 'a') source.next('b');
      if (piece === 'b') source.complete();
      written();
    };
    const { ended, receipts } = run(source, output);
    source.next('a');
    expect(await ended).toBe('complete');
    expect(receipts).toMatchObject([{ chars: 2 }]);
    expect(output.text).toBe('ab');
  });

  it('is nothing before it is subscribed to', () => {
    const output = new FakeOutput();
    const subscribed = vi.fn();
    void of('a').pipe(tap({ subscribe: subscribed }), toStdout({ stream: output }));
    expect(subscribed).not.toHaveBeenCalled();
    expect(output.listeners3()).toEqual([0, 0, 0]);
    expect(output.text).toBe('');
  });

  it('goes to the process’s standard output by default', async () => {
    const written: unknown[] = [];
    vi.spyOn(process.stdout, 'write').mockImplementation(((piece: string, done: Written) => {
      written.push(piece);
      done();
      return true;
    }) as typeof process.stdout.write);
    await lastValueFrom(of('to stdout').pipe(toStdout()));
    expect(written).toEqual(['to stdout']);
  });

  it('may have a surrogate pair cut in two, in the answer and in its thinking', async () => {
    const output = new FakeOutput();
    const events = [thinking('\ud83d'), thinking('\udc0e'), text('a\ud83d'), text('\udc0e')];
    const told = await lastValueFrom(answer(...events).pipe(toStdout({ stream: output, thinking: { prefix: '> ' } })));
    expect(output.text).toBe('> 🐎\na🐎');
    expect(output.pieces.join('|')).not.toMatch(/[\ud800-\udbff]\|/);
    expect(told).toMatchObject({ chars: 3, bytes: Buffer.byteLength(output.text) });
  });

  it('may end in half of a surrogate pair', async () => {
    expect(await shown(of('a\ud83d'), false)).toBe('a\ud83d');
  });

  it('gives the first output only, or the one that is asked for; each answer has its own', async () => {
    const events = [text('no', { index: 1, alternative: true }), text('zero'), text('other', { name: 'other' })];
    expect(await shown(answer(...events), false)).toBe('zero');
    expect(await shown(answer(...events), false, { index: 1 })).toBe('no');
    expect(await shown(answer(...events), false, { name: 'other' })).toBe('other');
    expect(await shown(concat(answer(text('one ')), answer(text('two', { name: 'reply' }))), false)).toBe('one two');
  });

  it('is known by its flow', async () => {
    const source = fromCall(fakeCall([text('a'), finish], { provider: 'mill', model: 'wheel' }));
    expect(await lastValueFrom(source.pipe(toStdout({ stream: new FakeOutput() })))).toMatchObject({
      provider: 'mill',
      model: 'wheel',
      finish: { reason: 'stop' },
      attempts: 1,
      billing: 'ended',
    });
  });

  it.each<[string, (source: Observable<StreamEvent>) => Observable<StreamEvent>]>([
    ['take', (source): Observable<StreamEvent> => source.pipe(take(1))],
    ['takeUntil', (source): Observable<StreamEvent> => source.pipe(takeUntil(of(1)))],
    ['catchError', (source): Observable<StreamEvent> => source.pipe(catchError(() => EMPTY))],
  ])('that %s completes early is an InterruptedError that names stopOn', async (name, end) => {
    const source = fromCall(fakeCall(name === 'catchError' ? [text('a')] : concat(of(text('a'), text('b')), NEVER)));
    const error = await run(end(source), new FakeOutput()).ended;
    if (name === 'takeUntil')
      expect(error).toBe('complete'); // nothing was ever asked
    else {
      expect(error).toBeInstanceOf(InterruptedError);
      expect((error as Error).message).toContain('stopOn');
      expect(error).toMatchObject({ receipt: { outcome: 'interrupted', chars: 1 } });
    }
  });

  it('that was stopped on purpose completes', async () => {
    const stop = new Subject<void>();
    const events = new Subject<StreamEvent>();
    const { ended, receipts } = run(fromCall(fakeCall(events)).pipe(stopOn(stop)), new FakeOutput());
    events.next(text('a'));
    stop.next();
    expect(await ended).toBe('complete');
    expect(receipts).toMatchObject([{ outcome: 'stopped', by: 'notifier', chars: 1, billing: 'ended' }]);
  });

  it.each([undefined, 'a word'])('that fails with %s is not taken for a success', async (thrown) => {
    const {
      ended,
      receipts,
      receipt: told,
    } = run(
      throwError(() => thrown),
      new FakeOutput(),
    );
    expect(await ended).toBe(thrown);
    expect(receipts).toEqual([]);
    expect(await told).toMatchObject({ outcome: 'failed', error: { message: String(thrown) } });
  });
});

describe('unsubscribing', () => {
  it(
    'stops the source and emits nothing',
    marbles((m) => {
      const output = new FakeOutput();
      const source = m.cold<string>('-a-b-c|', { a: 'a', b: 'b', c: 'c' });
      const subs = '                 ^---!';
      const expected = '             -----';
      m.expect(source.pipe(toStdout({ stream: output })), subs).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
      m.flush();
      expect(output.text).toBe('ab');
      expect(output.listeners3()).toEqual([0, 0, 0]);
    }),
  );

  it('aborts the request, and tells a receipt below', async () => {
    const server = await serve();
    const output = new FakeOutput();
    const { unsubscribe, receipts, receipt: told } = run(textFrom(server.url), output);
    const exchange = await server.accept();
    await exchange.write('half');
    await vi.waitUntil(() => output.text === 'half');
    unsubscribe();
    expect(await exchange.ended).toBe('client');
    expect(await told).toMatchObject({ outcome: 'stopped', by: 'unsubscribe', chars: 4 });
    expect(receipts).toEqual([]);
  });

  it('leaves a terminal as it was', () => {
    const output = new FakeOutput(true);
    run(concat(of(thinking('hm')), NEVER), output, { thinking: 'dim' }).unsubscribe();
    expect(output.text).toBe(`${DIM}hm${UNDIM}\n`);
  });

  it('keeps listening until what was written is out', async () => {
    const output = new FakeOutput();
    let written: Written = () => undefined;
    output.onWrite = (_, done) => {
      written = done;
    };
    const { unsubscribe, receipt: told } = run(concat(of('a'), NEVER), output);
    unsubscribe();
    expect(output.listeners3()).toEqual([1, 1, 1]);
    written();
    expect(output.listeners3()).toEqual([0, 0, 0]);
    expect(await told).toMatchObject({ outcome: 'stopped', by: 'unsubscribe' });
  });
});

describe('pressure', () => {
  it('pauses the source of an output that is full, until it drains', () => {
    const output = new FakeOutput();
    output.hasRoom = false;
    const source = pausable(['a', 'b', 'c']);
    const { receipts } = run(source.source, output);
    expect(output.text).toBe('a');
    expect(source.told).toEqual([true]);
    output.emit('drain');
    expect(output.text).toBe('ab');
    output.hasRoom = true;
    output.emit('drain');
    expect(output.text).toBe('abc');
    expect(receipts).toHaveLength(1);
    expect(source.told).toEqual([true, false, true, false]);
  });

  it('is released when the sink leaves: another reader of the same stream goes on', () => {
    const output = new FakeOutput();
    output.hasRoom = false;
    const source = pausable(['a', 'b']);
    const shared = source.source.pipe(share());
    const start = new Subject<void>();
    const late = start.pipe(
      take(1),
      switchMap(() => shared),
    );
    const others: string[] = [];
    const { unsubscribe } = run(late, output);
    late.subscribe((piece) => others.push(piece));
    start.next();
    expect(source.flow.paused).toBe(true);
    unsubscribe();
    expect(source.flow.paused).toBe(false);
    expect(others).toEqual(['b']);
  });

  it('of a real stream with a small buffer holds no more than that buffer', async () => {
    const items = Array.from({ length: 100 }, (_, n) => String(n).padStart(5));
    const source = pausable(items);
    const output = new PassThrough({ highWaterMark: 8 });
    const { ended } = run(source.source, output);
    let read = '';
    let most = 0;
    while (read.length < 500) {
      most = Math.max(most, source.given * 5 - read.length);
      const piece = output.read() as Buffer | null;
      if (piece === null) await once(output, 'readable');
      else read += piece.toString();
    }
    expect(await ended).toBe('complete');
    expect(read).toBe(items.join(''));
    expect(most).toBeLessThanOrEqual(2 * 8 + 2 * 5); // two buffers of a PassThrough, and an item over each
    expect(source.told.length).toBeGreaterThan(20);
    expect(EVENTS.map((event) => output.listenerCount(event))).toEqual(baseline());
  });

  it('reaches the socket', async () => {
    const server = await serve();
    const output = new PassThrough();
    const { ended } = run(textFrom(server.url), output);
    const exchange = await server.accept();
    const [piece, pieces] = ['x'.repeat(65_536), 200];
    const sent = (async (): Promise<void> => {
      for (let n = 0; n < pieces; n += 1) await exchange.write(piece);
      await exchange.end();
    })();
    await vi.waitUntil(() => output.writableNeedDrain);
    for (let n = 0; n < 100; n += 1) await new Promise((resolve) => setImmediate(resolve));
    expect(exchange.bytesSent).toBeLessThan(piece.length * pieces);
    expect(output.writableLength + output.readableLength).toBeLessThan(4 * 65_536);
    let read = 0;
    output.on('data', (chunk: Buffer) => (read += chunk.length));
    await sent;
    expect(await ended).toBe('complete');
    await vi.waitUntil(() => read === piece.length * pieces);
  });

  function baseline(): number[] {
    const fresh = new PassThrough();
    return EVENTS.map((event) => fresh.listenerCount(event));
  }
});

describe('thinking', () => {
  const source = answer(
    thinking('let me\n'),
    thinking('see'),
    text('It is '),
    text('so.\n'),
    thinking('hm'),
    text('Yes'),
  );

  it('is left out by default', async () => {
    expect(await shown(source, true)).toBe('It is so.\nYes');
    expect(await shown(source, true, { thinking: 'hide' })).toBe('It is so.\nYes');
  });

  it('is dim on a terminal, and left out elsewhere', async () => {
    expect(await shown(source, true, { thinking: 'dim' })).toBe(
      `${DIM}let me\nsee${UNDIM}\nIt is so.\n${DIM}hm${UNDIM}\nYes`,
    );
    expect(await shown(source, false, { thinking: 'dim' })).toBe('It is so.\nYes');
  });

  it.each([true, false])('has its prefix on each of its lines (TTY: %s)', async (isTTY) => {
    expect(await shown(source, isTTY, { thinking: { prefix: '> ' } })).toBe('> let me\n> see\nIt is so.\n> hm\nYes');
  });

  it.each<['dim' | { readonly prefix: string }, string]>([
    ['dim', `It is\n${DIM}hm\n${UNDIM}so\n${DIM}a\n\nb${UNDIM}\n`],
    [{ prefix: '> ' }, 'It is\n> hm\nso\n> a\n> \n> b\n'],
  ])('begins and ends on a line of its own: %j', async (how, expected) => {
    const events = [text('It is'), thinking('hm\n'), text('so'), thinking('a'), thinking('\n\nb')];
    expect(await shown(answer(...events), true, { thinking: how })).toBe(expected);
  });

  it('is not counted as text of the answer', async () => {
    const output = new FakeOutput();
    const options = { stream: output, thinking: { prefix: '' } };
    expect(await lastValueFrom(answer(thinking('hm'), text('yes')).pipe(toStdout(options)))).toMatchObject({
      chars: 3,
      bytes: 6,
    });
  });

  it.each(['show', null, {}, { prefix: 1 }])('refuses %j at once', (wrong) => {
    expect(() => toStdout({ thinking: wrong as 'hide' })).toThrow(TypeError);
    expect(() => toStdout({ thinking: wrong as 'hide' })).toThrow('thinking');
  });
});

describe('an answer that begins anew', () => {
  it('is a marked seam on a terminal; its receipt counts what is valid', async () => {
    const output = new FakeOutput(true);
    const told = await lastValueFrom(answer(text('wrong'), restart, text('right')).pipe(toStdout({ stream: output })));
    expect(output.text).toBe('wrong\n--- the answer begins anew: a cut ---\nright');
    expect(told).toMatchObject({ outcome: 'complete', chars: 5, restarts: 1 });
  });

  it('has its seam on a line of its own, out of the thinking', async () => {
    const events = [thinking('hm\n'), restart, thinking('oh'), restart, text('a\n'), restart, text('b')];
    const seam = '--- the answer begins anew: a cut ---\n';
    expect(await shown(answer(...events), true, { thinking: 'dim' })).toBe(
      `${DIM}hm\n${UNDIM}${seam}${DIM}oh${UNDIM}\n${seam}a\n${seam}b`,
    );
  });

  it('leaves the answers before it as they are', async () => {
    const output = new FakeOutput(true);
    const all = concat(answer(text('one')), answer(text('wrong'), restart, text('two', { name: 'b' })));
    const told = await lastValueFrom(all.pipe(toStdout({ stream: output })));
    expect(output.text).toBe('onewrong\n--- the answer begins anew: a cut ---\ntwo');
    expect(told).toMatchObject({ chars: 6 });
  });

  it('is a SinkError on a pipe, and stops the source', async () => {
    const output = new FakeOutput();
    const events = new Subject<StreamEvent>();
    const { ended } = run(fromCall(fakeCall(events)), output);
    events.next(text('wrong'));
    events.next(restart);
    expect(events.observed).toBe(false);
    const error = await ended;
    expect(error).toBeInstanceOf(SinkError);
    expect(error).toMatchObject({ receipt: { outcome: 'failed', chars: 5, error: { code: 'ERR_SINK' } } });
    expect(output.text).toBe('wrong');
    expect(output.listeners3()).toEqual([0, 0, 0]);
  });

  it.each([true, false])('before anything was shown is not seen (TTY: %s)', async (isTTY) => {
    const events = [thinking('hm'), text('\ud83d'), restart, restart, text('right')];
    expect(await shown(answer(...events), isTTY)).toBe('right');
    expect(await shown(concat(answer(text('one ')), answer(restart, text('two'))), isTTY)).toBe('one two');
  });
});

describe('a reader that leaves', () => {
  it(
    'ends the stream as stopped by the reader, and stops the source',
    marbles((m) => {
      const output = new FakeOutput();
      output.onWrite = (piece, written) => {
        written(piece === 'b' ? refusal('EPIPE') : undefined);
      };
      const source = m.cold<string>('-a-b-c|', { a: 'a', b: 'b', c: 'c' });
      const subs = '                 ^--!';
      const expected = '             ---(r|)';
      m.expect(source.pipe(toStdout({ stream: output }))).toBeObservable(expected, {
        r: receipt({ outcome: 'stopped', by: 'reader', chars: 2, bytes: 2, billing: 'unknown' }, 3),
      });
      m.expect(source).toHaveSubscriptions(subs);
      m.flush();
      expect(output.text).toBe('ab');
    }),
  );

  it('is told to a receipt above too, and the work is stopped', async () => {
    const output = new FakeOutput();
    const events = new Subject<StreamEvent>();
    const above: Receipt[] = [];
    const { ended, receipts } = run(fromCall(fakeCall(events)).pipe(tapReceipt((one) => above.push(one))), output);
    events.next(text('a'));
    output.emit('error', refusal('EPIPE'));
    expect(await ended).toBe('complete');
    expect(receipts).toMatchObject([{ outcome: 'stopped', by: 'reader', billing: 'ended', chars: 1 }]);
    expect(above).toMatchObject([{ outcome: 'stopped', by: 'reader' }]);
    expect(events.observed).toBe(false);
  });

  it('aborts the request', async () => {
    const server = await serve();
    const output = new FakeOutput();
    const { ended, receipts } = run(textFrom(server.url), output);
    const exchange = await server.accept();
    await exchange.write('data');
    await vi.waitUntil(() => output.text === 'data');
    output.emit('error', refusal('EPIPE'));
    expect(await exchange.ended).toBe('client');
    expect(await ended).toBe('complete');
    expect(receipts).toMatchObject([{ outcome: 'stopped', by: 'reader' }]);
  });

  it('while nothing is written ends a stream that is waiting', async () => {
    const output = new FakeOutput();
    const { ended } = run(NEVER, output);
    output.emit('error', refusal('EPIPE'));
    expect(await ended).toBe('complete');
  });

  it('before the last byte of a complete stream has not read it', async () => {
    const output = new FakeOutput();
    let written: Written = () => undefined;
    output.onWrite = (_, done) => {
      written = done;
    };
    const { ended, receipts } = run(answer(text('a')), output);
    expect(receipts).toEqual([]);
    written(refusal('EPIPE'));
    expect(await ended).toBe('complete');
    expect(receipts).toMatchObject([{ outcome: 'stopped', by: 'reader', finish: { reason: 'stop' } }]);
    // The error event of that write comes after its callback, when the sink has gone.
    output.emit('error', refusal('EPIPE'));
  });

  it('does not hide the error of a stream that failed before', async () => {
    const output = new FakeOutput();
    let written: Written = () => undefined;
    output.onWrite = (_, done) => {
      written = done;
    };
    const thrown = new ProviderError('ill', { retryable: false });
    const { ended } = run(
      concat(
        of('a'),
        throwError(() => thrown),
      ),
      output,
    );
    written(refusal('EPIPE'));
    expect(await ended).toBe(thrown);
    expect(thrown.receipt).toMatchObject({ outcome: 'failed' });
  });

  it.each(['destroyed', 'destroyed while it is full', 'destroyed before'])('is an output that is %s', async (when) => {
    const output = new PassThrough({ highWaterMark: when === 'destroyed while it is full' ? 1 : 1024 });
    if (when === 'destroyed before') output.destroy();
    const source = pausable(Array.from({ length: 10 }, () => 'text'));
    const { ended, receipts } = run(concat(source.source, NEVER), output);
    output.destroy();
    expect(await ended).toBe('complete');
    expect(receipts).toMatchObject([{ outcome: 'stopped', by: 'reader' }]);
    expect(source.flow.paused).toBe(false);
  });

  it('may be a program', async () => {
    const head = spawn('head', ['-c', '10']);
    const source = pausable(Array.from({ length: 100_000 }, () => 'some text '));
    const read = once(head.stdout, 'data');
    const { ended, receipts } = run(source.source, head.stdin);
    expect(await ended).toBe('complete');
    expect(receipts).toMatchObject([{ outcome: 'stopped', by: 'reader' }]);
    expect(source.given).toBeLessThan(100_000);
    expect(String((await read)[0])).toBe('some text ');
  });
});

describe('an output that fails', () => {
  it.each(['callback', 'event'])('is a SinkError that stops the source, told by its %s', async (way) => {
    const output = new FakeOutput();
    const events = new Subject<StreamEvent>();
    const { ended } = run(fromCall(fakeCall(events)), output);
    const refused = refusal('ENOSPC');
    if (way === 'callback') {
      output.onWrite = (_, written) => {
        written(refused);
      };
    }
    events.next(text('a'));
    output.emit('error', refused);
    const error = await ended;
    expect(error).toBeInstanceOf(SinkError);
    expect(error).toMatchObject({
      cause: refused,
      context: { code: 'ENOSPC' },
      receipt: { outcome: 'failed', where: 'stdout', error: { name: 'SinkError', code: 'ERR_SINK' } },
    });
    expect(events.observed).toBe(false);
  });

  it('under the last byte of a complete stream is a SinkError too', async () => {
    const output = new FakeOutput();
    let written: Written = () => undefined;
    output.onWrite = (_, done) => {
      written = done;
    };
    const { ended, receipts } = run(answer(text('a')), output);
    written(refusal('EIO'));
    expect(await ended).toBeInstanceOf(SinkError);
    expect(receipts).toEqual([]);
  });

  it('is a real one that was ended by somebody else', async () => {
    const output = new PassThrough();
    output.end();
    const { ended } = run(concat(of('a'), NEVER), output);
    const error = await ended;
    expect(error).toBeInstanceOf(SinkError);
    expect(error).toMatchObject({ cause: { code: 'ERR_STREAM_WRITE_AFTER_END' } });
  });

  it('after the stream had failed is a warning', async () => {
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
    const output = new FakeOutput();
    let written: Written = () => undefined;
    output.onWrite = (_, done) => {
      written = done;
    };
    const thrown = new Error('first');
    const { ended } = run(
      concat(
        of('a'),
        throwError(() => thrown),
      ),
      output,
    );
    written(refusal('EIO'));
    expect(await ended).toBe(thrown);
    expect(warned).toHaveBeenCalledTimes(1);
  });
});

describe('listeners', () => {
  it.each<[string, (output: FakeOutput) => Observable<StreamEvent | string>]>([
    ['complete', (): Observable<string> => of('a')],
    ['fail', (): Observable<string> => throwError(() => new Error('no'))],
    ['are stopped', (): Observable<string> => concat(of('a'), NEVER).pipe(stopOn(of(1)))],
  ])('are gone after many runs that %s', async (_, source) => {
    const output = new FakeOutput();
    for (let n = 0; n < 50; n += 1) await run(source(output), output).ended;
    expect(output.listeners3()).toEqual([0, 0, 0]);
  });

  it.each(['EPIPE', 'EIO'])('are gone after many runs that end by %s, but for one guard an output', async (code) => {
    const output = new FakeOutput();
    for (let n = 0; n < 50; n += 1) {
      const { ended } = run(concat(of('a'), NEVER), output);
      output.emit('error', refusal(code));
      await ended;
    }
    expect(output.listeners3()).toEqual([1, 0, 0]);
    output.emit('error', refusal(code)); // late: nobody but the guard listens, and nothing is thrown
  });

  it('of one run hear nothing of the next', async () => {
    const output = new FakeOutput();
    await run(of('a'), output).ended;
    const { ended, receipts } = run(concat(of('b'), NEVER), output);
    output.emit('error', refusal('EPIPE'));
    await ended;
    expect(receipts).toMatchObject([{ by: 'reader', chars: 1 }]);
  });

  it('of a real stream that refuses are gone, and nothing is left unheard', async () => {
    const output = new Writable({
      write: (_, __, done) => {
        done(refusal('EPIPE'));
      },
    });
    const before = EVENTS.map((event) => output.listenerCount(event));
    const { ended, receipts } = run(answer(text('a')), output);
    expect(await ended).toBe('complete');
    expect(receipts).toMatchObject([{ outcome: 'stopped', by: 'reader' }]);
    await new Promise((resolve) => setImmediate(resolve));
    const [error = 0, ...others] = before;
    expect(EVENTS.map((event) => output.listenerCount(event))).toEqual([error + 1, ...others]);
  });
});

describe('a program', () => {
  let program: string;

  beforeAll(async () => {
    const folder = await fs.mkdtemp(join(tmpdir(), 'millrace-toStdout-'));
    program = join(folder, 'print.mjs');
    await bundle(
      `
      import { map } from 'rxjs';
      import { toStdout } from './src/sinks/toStdout.ts';
      import { fromHTTP } from './src/sources/fromHTTP.ts';
      fromHTTP(process.argv[2]).pipe(map((chunk) => Buffer.from(chunk).toString()), toStdout()).subscribe({
        next: (receipt) => console.error(JSON.stringify(receipt)),
        error: (error) => { console.error(error); process.exitCode = 3; },
      });
      `,
      program,
    );
    return async (): Promise<void> => {
      await fs.rm(folder, { recursive: true, force: true });
    };
  });

  interface Ran {
    readonly code: number | null;
    readonly out: string;
    readonly receipt: unknown;
  }

  /** Runs a command line; \`print\` is the program. */
  async function shell(line: string, url: string): Promise<Ran> {
    const child = spawn('bash', ['-o', 'pipefail', '-c', line], {
      env: { ...process.env, NODE: process.execPath, PROGRAM: program, URL: url },
    });
    const said = { out: '', err: '' };
    child.stdout.on('data', (data: Buffer) => (said.out += data.toString()));
    child.stderr.on('data', (data: Buffer) => (said.err += data.toString()));
    const [code] = (await once(child, 'close')) as [number | null];
    return { code, out: said.out, receipt: JSON.parse(said.err) as unknown };
  }

  const print = '"$NODE" "$PROGRAM" "$URL"';

  it('prints all of a stream', async () => {
    const server = await serve();
    const ran = shell(print, server.url);
    const exchange = await server.accept();
    await exchange.write('one ');
    await exchange.end('two');
    expect(await ran).toMatchObject({ code: 0, out: 'one two', receipt: { outcome: 'complete', chars: 7 } });
  });

  it('in front of head ends quietly, and its request is aborted', async () => {
    const server = await serve();
    const ran = shell(`${print} | head -c 10`, server.url);
    const exchange = await server.accept();
    while (await exchange.write('some text '));
    expect(await exchange.ended).toBe('client');
    expect(await ran).toMatchObject({
      code: 0,
      out: 'some text ',
      receipt: { outcome: 'stopped', by: 'reader', where: 'stdout' },
    });
  });

  it('whose reader has gone before its only text ends quietly', async () => {
    const server = await serve();
    // The reader says when it has closed its end: the file appears.
    const closed = join(tmpdir(), `millrace-closed-${String(process.pid)}`);
    onTestFinished(() => fs.rm(closed, { force: true }));
    const ran = shell(`${print} | { exec 0<&-; touch ${closed}; }`, server.url);
    const exchange = await server.accept();
    await vi.waitUntil(() =>
      fs.access(closed).then(
        () => true,
        () => false,
      ),
    );
    await exchange.end('all of it');
    expect(await ran).toMatchObject({ code: 0, out: '', receipt: { outcome: 'stopped', by: 'reader' } });
  });
});
