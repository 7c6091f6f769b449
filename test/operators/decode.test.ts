import { defer, from, lastValueFrom, type Observable, of, Subject, take, takeWhile, toArray } from 'rxjs';
import { describe, expect, it } from 'vitest';
import * as z from 'zod/mini';
import {
  InterruptedError,
  isMillraceError,
  type MillraceError,
  ProtocolError,
  ProviderError,
  StreamTimeoutError,
  ValidationError,
} from '../../src/errors.js';
import { decode } from '../../src/operators/decode.js';
import { tapReceipt } from '../../src/operators/tapReceipt.js';
import { dialect } from '../../src/protocol/dialect.js';
import type { Receipt, ServerSentMessage, StreamEvent, TextEvent, WireEvent } from '../../src/types.js';
import { marbles } from '../support/marbles.js';

/** Frames are `{"piece": "text"}`, `{"pieces": [...]}`, `{"again": why}`, `{"over": reason}`; `[DONE]` is the end. */
const words = dialect({
  name: 'words',
  frame: z.looseObject({
    piece: z.optional(z.string()),
    pieces: z.optional(z.array(z.string())),
    again: z.optional(z.string()),
    over: z.optional(z.string()),
  }),
  start: () => undefined,
  decode: ({ piece, pieces = [], again, over }, stream) => {
    if (again !== undefined) stream.emit({ type: 'restart', attempt: 2, because: again, discard: { chars: 0 } });
    if (piece !== undefined) stream.emit(text(piece));
    for (const one of pieces) stream.emit(text(one));
    if (over !== undefined) stream.prove('stop', over);
    if (piece === 'boom') throw new TypeError('the dialect has a bug');
  },
  marker: '[DONE]',
});

function text(piece: string): TextEvent {
  return { type: 'text', text: piece, index: 0, name: 'output' };
}

function data(content: unknown): ServerSentMessage {
  const line = typeof content === 'string' ? content : JSON.stringify(content);
  return { type: 'event', event: 'message', data: line, id: '' };
}

const wire = {
  a: data({ piece: 'A' }),
  b: data({ piece: 'B' }),
  f: data({ over: 'end_turn' }),
  d: data('[DONE]'),
  e: data({ error: { code: 'busy', message: 'come back later' } }),
  m: data('{"piece":"secr'),
  v: data({ piece: 7 }),
  x: data({ piece: 'boom' }),
};

const events: Record<string, StreamEvent> = {
  a: text('A'),
  b: text('B'),
  x: text('boom'),
  f: { type: 'finish', reason: 'stop', rawReason: 'end_turn' },
  u: { type: 'finish', reason: 'unknown' },
  w: {
    type: 'warning',
    code: 'end-marker-missing',
    message: 'The stream ended after its finish reason but without [DONE]; usage may be missing',
  },
};

const unproven = new InterruptedError(
  'The words stream ended before its proven end; what was received is in `received` and may be cut anywhere',
  { context: { dialect: 'words' } },
);

/** How a stream ended: its error, or its events. */
async function failure(source: Observable<unknown>): Promise<MillraceError> {
  try {
    await lastValueFrom(source.pipe(toArray()));
  } catch (error) {
    if (isMillraceError(error)) return error;
    throw error;
  }
  throw new Error('expected an error, got a completion');
}

describe('decode', () => {
  it(
    'stays silent while the source does',
    marbles((m) => {
      const source = m.cold(' -');
      const subs = '          ^';
      const expected = '      -';
      m.expect(source.pipe(decode(words))).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'takes an empty source for an interruption',
    marbles((m) => {
      const source = m.cold(' --|');
      const subs = '          ^-!';
      const expected = '      --#';
      m.expect(source.pipe(decode(words))).toBeObservable(expected, events, unproven);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'decodes one frame in the turn in which it comes',
    marbles((m) => {
      const source = m.hot('  --a---', wire);
      const subs = '          ^-----';
      const expected = '      --a---';
      m.expect(source.pipe(decode(words))).toBeObservable(expected, events);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'completes on the proven end at once, leaves the source, and ignores what follows',
    marbles((m) => {
      const source = m.cold(' -a-b-f-d-a--#', wire);
      const subs = '          ^------!     ';
      const expected = '      -a-b---(f|)  ';
      m.expect(source.pipe(decode(words))).toBeObservable(expected, events);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'errors when the source completes before the proof',
    marbles((m) => {
      const source = m.cold(' -a-b-|', wire);
      const subs = '          ^----!';
      const expected = '      -a-b-#';
      m.expect(source.pipe(decode(words))).toBeObservable(expected, events, unproven);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'completes with a warning when the source completes after the proof and before the marker',
    marbles((m) => {
      const source = m.cold(' -a-f-|    ', wire);
      const subs = '          ^----!    ';
      const expected = '      -a---(wf|)';
      m.expect(source.pipe(decode(words))).toBeObservable(expected, events);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it.each([
    ['a cut', new InterruptedError('cut')],
    ['silence', new StreamTimeoutError('wireIdle', 'no byte')],
  ])('completes with a warning when %s comes after the proof', (_, error) => {
    marbles((m) => {
      const source = m.cold(' -a-f-#    ', wire, error);
      const subs = '          ^----!    ';
      const expected = '      -a---(wf|)';
      m.expect(source.pipe(decode(words))).toBeObservable(expected, events);
      m.expect(source).toHaveSubscriptions(subs);
    })();
  });

  it(
    'passes a cut before the proof on as it is',
    marbles((m) => {
      const cut = new InterruptedError('cut');
      const source = m.cold(' -a-#', wire, cut);
      const subs = '          ^--!';
      const expected = '      -a-#';
      m.expect(source.pipe(decode(words))).toBeObservable(expected, events, cut);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'passes any other error of the source on, also after the proof',
    marbles((m) => {
      const refused = new RangeError('not ours');
      const source = m.cold(' -a-f-#', wire, refused);
      const subs = '          ^----!';
      const expected = '      -a---#';
      m.expect(source.pipe(decode(words))).toBeObservable(expected, events, refused);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'errors with what the provider reports, and leaves the source',
    marbles((m) => {
      const reported = new ProviderError('words reported busy: come back later', {
        retryable: false,
        providerCode: 'busy',
        providerMessage: 'come back later',
        context: { dialect: 'words', code: 'busy' },
      });
      const source = m.cold(' -a-e-b-d|', wire);
      const subs = '          ^--!     ';
      const expected = '      -a-#     ';
      m.expect(source.pipe(decode(words))).toBeObservable(expected, events, reported);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'hands on what a broken dialect throws, and leaves the source',
    marbles((m) => {
      const source = m.cold(' -a-x-b-|', wire);
      const subs = '          ^--!    ';
      const expected = '      -a-(x#) ';
      m.expect(source.pipe(decode(words))).toBeObservable(expected, events, new TypeError('the dialect has a bug'));
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'leaves the source when the subscriber leaves',
    marbles((m) => {
      const source = m.cold(' -a-b-f-d|', wire);
      const subs = '          ^---!    ';
      const expected = '      -a-b-    ';
      m.expect(source.pipe(decode(words)), subs).toBeObservable(expected, events);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'gives each subscriber a decoder of its own',
    marbles((m) => {
      const source = m.cold('   -a-f-d|    ', wire);
      const first = '           -a---(f|)  ';
      const second = '          ---a---(f|)';
      const decoded = source.pipe(decode(words));
      m.expect(decoded).toBeObservable(first, events);
      m.expect(decoded, '       --^        ').toBeObservable(second, events);
      m.expect(source).toHaveSubscriptions(['^----!', '--^----!']);
    }),
  );

  it('stops a synchronous source that has no end', () => {
    let produced = 0;
    function* endless(): Generator<WireEvent> {
      for (;;) {
        produced += 1;
        yield wire.a;
      }
    }
    const seen: unknown[] = [];
    from(endless())
      .pipe(decode(words), take(1))
      .subscribe({ next: (event) => seen.push(event), complete: () => seen.push('complete') });
    expect(seen).toStrictEqual([text('A'), 'complete']);
    expect(produced).toBe(1);
  });

  it('stops a synchronous source at the proven end', () => {
    let produced = 0;
    function* frames(): Generator<WireEvent> {
      for (const frame of [wire.a, wire.f, wire.d, wire.b, wire.e]) {
        produced += 1;
        yield frame;
      }
    }
    const seen: unknown[] = [];
    from(frames())
      .pipe(decode(words))
      .subscribe({ next: ({ type }) => seen.push(type), complete: () => seen.push('complete') });
    expect(seen).toStrictEqual(['text', 'finish', 'complete']);
    expect(produced).toBe(3);
  });

  it('finishes the frame in hand before what a subscriber feeds into the source meanwhile', () => {
    const source: Subject<WireEvent> = new Subject();
    const seen: string[] = [];
    source.pipe(decode(words)).subscribe({
      next: (event) => {
        seen.push(event.type === 'text' ? event.text : event.type);
        if (event.type !== 'text' || event.text !== '1') return;
        source.next(wire.b);
        source.next(wire.f);
        source.complete();
      },
      error: () => seen.push('error'),
      complete: () => seen.push('complete'),
    });
    source.next(data({ pieces: ['1', '2', '3'] }));
    expect(seen).toStrictEqual(['1', '2', '3', 'B', 'warning', 'finish', 'complete']);
  });

  it('emits nothing more of a frame, or of what waits, once the subscriber has left', () => {
    const source: Subject<WireEvent> = new Subject();
    const seen: string[] = [];
    source.pipe(decode(words), take(2)).subscribe((event) => {
      if (event.type === 'text') seen.push(event.text);
      if (seen.length === 1) source.next(wire.b);
    });
    source.next(data({ pieces: ['1', '2', '3'] }));
    expect(seen).toStrictEqual(['1', '2']);
    expect(source.observed).toBe(false);
  });

  it('is proven for an operator that leaves at the finish event', async () => {
    const receipts: Receipt[] = [];
    const source = of(wire.a, wire.d).pipe(
      decode(words),
      takeWhile(({ type }) => type !== 'finish', true),
      tapReceipt((receipt) => receipts.push(receipt)),
    );
    expect(await lastValueFrom(source)).toStrictEqual(events['u']);
    expect(receipts).toMatchObject([{ outcome: 'complete', finish: { reason: 'unknown' } }]);
  });
});

describe('a malformed frame', () => {
  it(
    'is an error by default, which does not quote it',
    marbles((m) => {
      const malformed = new ProtocolError(
        'Malformed frame: words sent 14 characters that are not JSON; ' +
          "decode(dialect, { onMalformed: 'skip' }) leaves such frames out",
        { context: { dialect: 'words', chars: 14 } },
      );
      const source = m.cold(' -a-m-b-f-d|', wire);
      const subs = '          ^--!       ';
      const expected = '      -a-#       ';
      m.expect(source.pipe(decode(words))).toBeObservable(expected, events, malformed);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it('of the wrong shape is an error that names the place and not the value', async () => {
    const error = await failure(of(wire.a, data({ piece: 123_456 })).pipe(decode(words)));
    expect(error).toBeInstanceOf(ValidationError);
    expect(error).toMatchObject({ issues: [{ path: 'piece' }], received: { text: 'A' } });
    expect(error.message).not.toContain('123456');
  });

  it(
    'is left out and counted when told to skip',
    marbles((m) => {
      const source = m.cold(' -a-m-v-b-f-d|', wire);
      const subs = '          ^----------!';
      const expected = '      -a-1-2-b---(f|)';
      const skipped = (count: number, message: string): StreamEvent => ({
        type: 'warning',
        code: 'frame-skipped',
        message,
        detail: { skipped: count },
      });
      const values = {
        ...events,
        1: skipped(
          1,
          'Malformed frame: words sent 14 characters that are not JSON; ' +
            "decode(dialect, { onMalformed: 'skip' }) leaves such frames out",
        ),
        2: skipped(2, 'Unexpected shape of a words frame: piece: Invalid input'),
      };
      m.expect(source.pipe(decode(words, { onMalformed: 'skip' }))).toBeObservable(expected, values);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it('does not take back the proof when it is skipped', async () => {
    const source = of(wire.a, wire.f, wire.m).pipe(decode(words, { onMalformed: 'skip' }), toArray());
    expect((await lastValueFrom(source)).map(({ type }) => type)).toStrictEqual([
      'text',
      'warning',
      'warning',
      'finish',
    ]);
  });

  it('that reports a failure is not skipped', async () => {
    const error = await failure(of(wire.m, wire.e).pipe(decode(words, { onMalformed: 'skip' })));
    expect(error).toBeInstanceOf(ProviderError);
  });
});

describe('what was received before an error', () => {
  it('is in an interruption', async () => {
    const error = await failure(of(wire.a, wire.b).pipe(decode(words)));
    expect(error).toBeInstanceOf(InterruptedError);
    expect(error.received).toStrictEqual({ text: 'AB', chars: 2, truncated: false });
  });

  it('is in the provider’s error, beside the frame', async () => {
    const error = await failure(of(wire.a, wire.b, wire.e).pipe(decode(words)));
    expect(error).toBeInstanceOf(ProviderError);
    expect(error.received).toStrictEqual({ text: 'AB', chars: 2, truncated: false });
    expect((error as ProviderError).frame).toStrictEqual({ error: { code: 'busy', message: 'come back later' } });
  });

  it('is empty where nothing came', async () => {
    const error = await failure(of(wire.e).pipe(decode(words)));
    expect(error.received).toStrictEqual({ text: '', chars: 0, truncated: false });
  });

  it('stays what an earlier decoder said', async () => {
    const cut = new InterruptedError('cut');
    cut.received = { text: 'earlier', chars: 7, truncated: false };
    const source = defer(() => {
      throw cut;
    });
    expect((await failure(source.pipe(decode(words)))).received?.text).toBe('earlier');
  });

  it.each([
    [4, 'cdef', true],
    [5, 'bcdef', true],
    [6, 'abcdef', false],
    [0, '', true],
    [Number.POSITIVE_INFINITY, 'abcdef', false],
  ])('is cut to the newest %d characters', async (maxReceivedChars, kept, truncated) => {
    const frames = [...'abcdef'].map((piece) => data({ piece }));
    const error = await failure(from(frames).pipe(decode(words, { maxReceivedChars })));
    expect(error.received).toStrictEqual({ text: kept, chars: 6, truncated });
  });

  it('is not cut inside a surrogate pair', async () => {
    const error = await failure(of(data({ piece: 'a😀b' })).pipe(decode(words, { maxReceivedChars: 2 })));
    expect(error.received).toStrictEqual({ text: 'b', chars: 4, truncated: true });
  });

  it('is the text since the last restart, of whichever output is then the first', async () => {
    const error = await failure(of(wire.a, data({ again: 'lost', piece: 'new' })).pipe(decode(words)));
    expect(error.received).toStrictEqual({ text: 'new', chars: 3, truncated: false });
  });
});

describe('the options of decode', () => {
  it('are refused when called', () => {
    expect(() => decode(words, { onMalformed: 'maybe' as 'skip' })).toThrow(
      "onMalformed must be one of 'error', 'skip', got maybe",
    );
    expect(() => decode(words, { maxReceivedChars: -1 })).toThrow(RangeError);
    expect(() => decode(words, { maxReceivedChars: Number.NaN })).toThrow(
      'maxReceivedChars must be a number of at least 0',
    );
  });
});
