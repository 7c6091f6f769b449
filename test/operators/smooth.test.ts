import * as fc from 'fast-check';
import { from, merge, NEVER, Observable, of, Subject, take, VirtualTimeScheduler } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { endDelivery, Flow, register, Scope } from '../../src/internal/flow.js';
import { endsInHalf } from '../../src/internal/graphemes.js';
import { draw } from '../../src/internal/operate.js';
import { smooth, type SmoothOptions } from '../../src/operators/smooth.js';
import { tapReceipt } from '../../src/operators/tapReceipt.js';
import { toTokens } from '../../src/operators/toTokens.js';
import { polargrid } from '../../src/providers/index.js';
import { asyncIterableFrom } from '../../src/sinks/asyncIterableFrom.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { fakeCall, startProviderServer } from '../../src/testing/index.js';
import type { Receipt, StreamEvent } from '../../src/types.js';
import { marbles } from '../support/marbles.js';

/** A character every 4 ms, or a piece every 3. */
const characters: SmoothOptions = { charsPerSecond: 250, tickMs: 4 };
const pieces: SmoothOptions = { msPerToken: 3, tickMs: 3 };

function text(piece: string, index = 0): StreamEvent {
  return { type: 'text', text: piece, index, name: 'output' };
}

function thinking(piece: string): StreamEvent {
  return { type: 'thinking', text: piece, index: 0, name: 'thinking' };
}

const restart = (chars: number): StreamEvent => ({ type: 'restart', attempt: 2, because: 'lost', discard: { chars } });

/** What comes out of pieces that come at given times, and when. The source ends with the last piece, or at `end`. */
function play<T extends string | StreamEvent>(
  options: SmoothOptions,
  feed: readonly (readonly [number, T])[],
  end = feed.at(-1)?.[0] ?? 0,
): { readonly out: [number, T][]; readonly completedAt: number } {
  const scheduler = new VirtualTimeScheduler(undefined, Infinity);
  const source = new Subject<T>();
  const out: [number, T][] = [];
  let completedAt = NaN;
  source.pipe(smooth<T>({ ...options, scheduler })).subscribe({
    next: (value) => out.push([scheduler.now(), value]),
    complete: () => {
      completedAt = scheduler.now();
    },
  });
  for (const [at, piece] of feed) {
    scheduler.schedule(() => {
      source.next(piece);
    }, at);
  }
  scheduler.schedule(() => {
    source.complete();
  }, end);
  scheduler.flush();
  return { out, completedAt };
}

const joined = (out: readonly (readonly [number, string])[]): string => out.map(([, piece]) => piece).join('');

describe('smooth', () => {
  it(
    'stays silent while the source does',
    marbles((m) => {
      const source = m.cold(' -');
      const subs = '          ^';
      const expected = '      -';
      m.expect(source.pipe(smooth(characters))).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'completes with an empty source at once',
    marbles((m) => {
      const source = m.cold(' --|');
      const subs = '          ^-!';
      const expected = '      --|';
      m.expect(source.pipe(smooth(characters))).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'gives one character a tick, and completes with the last one',
    marbles((m) => {
      const source = m.cold(' -x|                  ', { x: 'abcd' });
      const subs = '          ^-!                  ';
      const expected = '      -----a---b---c---(d|)';
      m.expect(source.pipe(smooth(characters))).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'gives several characters a tick where the pace asks for them',
    marbles((m) => {
      const source = m.cold(' x|             ', { x: 'abcde' });
      const expected = '      ----y---z---(e|)';
      const twoEvery4 = smooth<string>({ charsPerSecond: 500, tickMs: 4 });
      m.expect(source.pipe(twoEvery4)).toBeObservable(expected, { y: 'ab', z: 'cd', e: 'e' });
    }),
  );

  it(
    'joins pieces that came apart',
    marbles((m) => {
      const source = m.cold(' x-y|           ', { x: 'abc', y: 'de' });
      const expected = '      ----y---z---(e|)';
      const twoEvery4 = smooth<string>({ charsPerSecond: 500, tickMs: 4 });
      m.expect(source.pipe(twoEvery4)).toBeObservable(expected, { y: 'ab', z: 'cd', e: 'e' });
    }),
  );

  it(
    'keeps the pace across a pause, and saves up no more than one turn',
    marbles((m) => {
      const source = m.cold(' x 19ms y|          ', { x: 'a', y: 'bcd' });
      const expected = '      24ms a---b---c---(d|)';
      m.expect(source.pipe(smooth(characters))).toBeObservable(expected);
    }),
  );

  it(
    'gives whole pieces with msPerToken',
    marbles((m) => {
      const source = m.cold(' (xyz)-----|   ', { x: 'one', y: ' two', z: ' three' });
      const subs = '          ^---------!   ';
      const expected = '      ---x--y--z|   ';
      m.expect(source.pipe(smooth(pieces))).toBeObservable(expected, { x: 'one', y: ' two', z: ' three' });
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'does what its diagram shows',
    marbles((m) => {
      const values = { x: 'abcd', y: 'ef' };
      const source = m.cold('         -x-------y|         ', values);
      const byPiece = '               ----x-------(y|)    ';
      const byCharacter = '           ---a-b-c---d-e-(f|) ';
      m.expect(source.pipe(smooth<string>({ msPerToken: 3, tickMs: 3 }))).toBeObservable(byPiece, values);
      m.expect(source.pipe(smooth<string>({ charsPerSecond: 500, tickMs: 2 }))).toBeObservable(byCharacter);
    }),
  );

  it(
    'emits at once what it holds, and then the error',
    marbles((m) => {
      const source = m.hot('  -x----#    ', { x: 'abcd' });
      const subs = '          ^-----!    ';
      const expected = '      -----a(y#) ';
      m.expect(source.pipe(smooth(characters))).toBeObservable(expected, { a: 'a', y: 'bcd' });
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it('drops what it holds and its timer when the subscriber leaves', () => {
    const scheduler = new VirtualTimeScheduler();
    const source = new Subject<string>();
    const seen: string[] = [];
    const subscription = source.pipe(smooth({ ...characters, scheduler })).subscribe((piece) => seen.push(piece));
    expect(scheduler.actions).toHaveLength(0);
    source.next('abc');
    expect(scheduler.actions).toHaveLength(1);
    subscription.unsubscribe();
    expect(scheduler.actions).toHaveLength(0);
    expect(source.observed).toBe(false);
    scheduler.flush();
    expect(seen).toEqual([]);
  });

  it('holds no timer while it holds nothing', () => {
    const scheduler = new VirtualTimeScheduler();
    const source = new Subject<string>();
    source.pipe(smooth({ ...pieces, scheduler })).subscribe();
    source.next('a');
    scheduler.flush();
    expect(scheduler.actions).toHaveLength(0);
  });

  it('stops a synchronous source', () => {
    let produced = 0;
    function* endless(): Generator<string> {
      for (;;) {
        produced += 1;
        yield 'ab';
      }
    }
    const seen: string[] = [];
    from(endless())
      .pipe(smooth({ ...characters, maxChars: 3 }), take(1))
      .subscribe({ next: (piece) => seen.push(piece), complete: () => seen.push('complete') });
    expect(seen).toEqual(['a', 'complete']);
    expect(produced).toBe(2);
  });

  it(
    'paces each subscriber for itself',
    marbles((m) => {
      const source = m.hot('  x-----y|           ', { x: 'ab', y: 'cd' });
      const first = '         ----a-----b---c---(d|)';
      const second = '        ----------c---(d|) ';
      const paced = source.pipe(smooth<string>(characters));
      m.expect(paced).toBeObservable(first);
      m.expect(paced, '       --^').toBeObservable(second);
      m.expect(source).toHaveSubscriptions(['^------!', '--^----!']);
    }),
  );

  it('puts what a subscriber feeds from inside next behind what is on its way', () => {
    const scheduler = new VirtualTimeScheduler();
    const source = new Subject<StreamEvent>();
    const seen: unknown[] = [];
    source.pipe(smooth<StreamEvent>({ ...pieces, scheduler })).subscribe({
      next: (event) => {
        seen.push(event.type === 'text' ? event.text : event.type);
        if (event.type !== 'text' || event.text !== 'one') return;
        source.next({ type: 'finish', reason: 'stop' });
        source.complete();
      },
      complete: () => seen.push('complete'),
    });
    source.next(text('one'));
    source.next({ type: 'warning', code: 'w', message: '' });
    scheduler.flush();
    expect(seen).toEqual(['one', 'warning', 'finish', 'complete']);
  });

  it('errors after what is on its way when a subscriber breaks the source from inside next', () => {
    const scheduler = new VirtualTimeScheduler();
    const source = new Subject<string>();
    const seen: unknown[] = [];
    source.pipe(smooth<string>({ ...pieces, scheduler })).subscribe({
      next: (piece) => {
        seen.push(piece);
        if (piece === 'one') source.error('broken');
      },
      error: (error: unknown) => seen.push({ error }),
    });
    source.next('one');
    source.next('two');
    scheduler.flush();
    expect(seen).toEqual(['one', 'two', { error: 'broken' }]);
    expect(scheduler.actions).toHaveLength(0);
  });

  it('lets nothing out for an empty string', () => {
    expect(
      play<string>(characters, [
        [0, ''],
        [5, ''],
      ]).out,
    ).toEqual([]);
  });
});

describe('the characters of smooth', () => {
  const family = '👨‍👩‍👧';
  const flag = '🇩🇪';

  it('are those that a reader sees', () => {
    const { out } = play(characters, [[0, `${family}e\u0301${flag}\r\nक्षि!`]]);
    expect(out.map(([, piece]) => piece)).toEqual([family, 'e\u0301', flag, '\r\n', 'क्षि', '!']);
  });

  it.each([
    ['a letter and its mark', ['xe', '\u0301y'], ['x', 'e\u0301', 'y']],
    ['the halves of a surrogate pair', ['x\ud83d', '\ude00y'], ['x', '😀', 'y']],
    ['the parts of an emoji', ['x👨', '\u200d', '👩', '\u200d👧'], ['x', family]],
    ['the halves of a flag', ['🇩', '🇪🇫', '🇷'], [flag, '🇫🇷']],
    ['a line end', ['a\r', '\nb'], ['a', '\r\n', 'b']],
  ])('are kept whole where the source cut %s', (_, parts, expected) => {
    const { out } = play(
      characters,
      parts.map((part, index): [number, string] => [index * 30, part]),
      500,
    );
    expect(out.map(([, piece]) => piece)).toEqual(expected);
  });

  it(
    'wait 100 ms for what may belong to the last of them',
    marbles((m) => {
      const source = m.cold(' x 150ms |           ', { x: 'ab' });
      const expected = '      ----a 95ms b 50ms | ';
      m.expect(source.pipe(smooth(characters))).toBeObservable(expected);
    }),
  );

  it('wait for the other half of a surrogate pair as long as it takes, and give one half at the end', () => {
    expect(
      play(characters, [
        [0, '\ud83d'],
        [5_000, '\ude00'],
      ]).out,
    ).toEqual([[5_000, '😀']]);
    expect(play(characters, [[0, 'a\ud83d']], 5_000).out).toEqual([
      [4, 'a'],
      [5_000, '\ud83d'],
    ]);
  });

  it('are cut after 256 code units, so that no text is held for ever', () => {
    const marks = '\u0301'.repeat(999);
    const { out } = play(characters, [[0, `e${marks}`]]);
    expect(out.map(([, piece]) => piece.length)).toEqual([256, 256, 256, 232]);
  });

  it('give the text of the source, whole, in any cut, and within the lag', () => {
    const piece = fc.oneof(
      fc.string({ unit: 'grapheme', maxLength: 12 }),
      fc.string({ unit: 'binary', maxLength: 6 }),
      fc.constantFrom(family, flag, 'e\u0301', '\r\n', '\ud83d', '\ude00', 'plain text'),
    );
    const feed = fc.array(fc.tuple(fc.nat(90), piece), { maxLength: 30 });
    const segmenter = new Intl.Segmenter(undefined, { granularity: 'grapheme' });
    fc.assert(
      fc.property(
        feed,
        fc.integer({ min: 1, max: 3_000 }),
        fc.integer({ min: 100, max: 900 }),
        (steps, rate, maxLagMs) => {
          let at = 0;
          const timed = steps.map(([gap, part]): [number, string] => [(at += gap), part]);
          const { out, completedAt } = play({ charsPerSecond: rate, maxLagMs }, timed);
          const whole = timed.map(([, part]) => part).join('');
          expect(joined(out)).toBe(whole);
          expect(completedAt).toBeLessThanOrEqual(at + maxLagMs);
          // What has come by a time is out a lag later, but for a character that is not known to be whole.
          let place = 0;
          const ends = new Set([...segmenter.segment(whole)].map(({ index, segment }) => index + segment.length));
          for (const [, part] of out) expect(ends).toContain((place += part.length));
          let came = 0;
          for (const [time, part] of timed) {
            came += part.length;
            const gone = out.reduce((sum, [when, { length }]) => (when <= time + maxLagMs ? sum + length : sum), 0);
            const known = endsInHalf(whole.slice(0, came)) ? came - 1 : came;
            const wholeEnd = Math.max(0, ...[...ends].filter((end) => end <= known));
            expect(gone).toBeGreaterThanOrEqual(wholeEnd);
          }
        },
      ),
    );
  });

  it('are never given faster than asked while nothing is late', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(200), fc.nat(3)), { maxLength: 30 }), (steps) => {
        let at = 0;
        const timed = steps.map(([gap, length]): [number, string] => [(at += gap + 150), 'abc'.slice(0, length)]);
        const { out } = play({ charsPerSecond: 40, maxLagMs: 1_000 }, timed);
        out.forEach(([time, part], index) => {
          const before = out[index - 1];
          expect(part).toHaveLength(1);
          if (before !== undefined) expect(time - before[0]).toBeGreaterThanOrEqual(23);
        });
      }),
    );
  });
});

describe('the lag of smooth', () => {
  it('is at most maxLagMs, spread evenly', () => {
    const { out } = play({ charsPerSecond: 1, maxLagMs: 100, tickMs: 10 }, [[0, 'x'.repeat(90)]]);
    expect(out.map(([at]) => at)).toEqual([10, 20, 30, 40, 50, 60, 70, 80, 90, 100].slice(0, out.length));
    for (const [, { length }] of out.slice(0, -1)) expect(length === 10 || length === 11).toBe(true);
    expect(joined(out)).toHaveLength(90);
  });

  it(
    'lets out at maxLagMs what the pace would hold longer, and not before',
    marbles((m) => {
      const source = m.cold(' x 99ms |          ', { x: 'ab' });
      const expected = '      10ms a 9ms b 79ms |';
      const slow = smooth<string>({ charsPerSecond: 1, maxLagMs: 20, tickMs: 10 });
      m.expect(source.pipe(slow)).toBeObservable(expected);
    }),
  );

  it('is over when the line is empty: the pace falls back', () => {
    const burst = 'x'.repeat(100);
    const { out } = play(
      { charsPerSecond: 100, maxLagMs: 200, tickMs: 10 },
      [
        [0, burst],
        [300, 'abc'],
      ],
      301,
    );
    const gone = out.filter(([at]) => at <= 200).reduce((sum, [, { length }]) => sum + length, 0);
    expect(gone).toBe(100);
    expect(out.slice(-3)).toEqual([
      [310, 'a'],
      [320, 'b'],
      [330, 'c'],
    ]);
  });

  it('holds for pieces too', () => {
    const feed = Array.from({ length: 50 }, (_, index): [number, string] => [0, String(index)]);
    const { out, completedAt } = play({ msPerToken: 1_000, maxLagMs: 160 }, feed);
    expect(out.map(([, piece]) => piece)).toEqual(feed.map(([, piece]) => piece));
    expect(completedAt).toBeLessThanOrEqual(160);
    expect(new Set(out.map(([at]) => at)).size).toBeGreaterThan(5);
  });
});

describe('the bound of smooth', () => {
  it('is what it holds at most; what is more goes out at once, the oldest first', () => {
    const scheduler = new VirtualTimeScheduler();
    const source = new Subject<string>();
    const seen: string[] = [];
    source.pipe(smooth({ ...characters, maxChars: 4, scheduler })).subscribe((piece) => seen.push(piece));
    source.next('abcd');
    expect(seen).toEqual([]);
    source.next('e');
    expect(seen).toEqual(['a']);
    source.next('fg');
    expect(seen).toEqual(['a', 'bc']);
    source.next('0123456789');
    expect(seen).toEqual(['a', 'bc', 'defg012345']);
    source.complete();
    scheduler.flush();
    expect(seen.join('')).toBe('abcdefg0123456789');
  });

  it('cuts no character', () => {
    const scheduler = new VirtualTimeScheduler();
    const source = new Subject<string>();
    const seen: string[] = [];
    source.pipe(smooth({ ...characters, maxChars: 3, scheduler })).subscribe((piece) => seen.push(piece));
    source.next('😀😀');
    expect(seen).toEqual(['😀']);
  });

  it('counts an event that waits for its turn as one', () => {
    const scheduler = new VirtualTimeScheduler();
    const source = new Subject<StreamEvent>();
    const seen: string[] = [];
    source.pipe(smooth<StreamEvent>({ ...pieces, maxChars: 4, scheduler })).subscribe(({ type }) => seen.push(type));
    source.next(text('abc'));
    source.next({ type: 'log', message: '1' });
    expect(seen).toEqual([]);
    source.next({ type: 'log', message: '2' });
    expect(seen).toEqual(['text']);
  });
});

describe('the events of smooth', () => {
  const events: Record<string, StreamEvent> = {
    a: text('A'),
    b: text('B'),
    c: text('C'),
    d: text('D', 1),
    x: text('AB'),
    t: thinking('T'),
    n: { type: 'refusal', text: 'N', index: 0, name: 'output' },
    s: { type: 'status', status: 'running', terminal: false },
    l: { type: 'log', message: 'line' },
    h: { type: 'heartbeat', comment: '' },
    u: { type: 'usage', outputTokens: 2, provenance: 'reported' },
    f: { type: 'finish', reason: 'stop' },
    r: restart(2),
    q: restart(1),
    v: restart(0),
  };

  it(
    'pass at once while no text is held',
    marbles((m) => {
      const source = m.cold(' -s-l-u-h-(f|)', events);
      const subs = '          ^--------!   ';
      const expected = '      -s-l-u-h-(f|)';
      m.expect(source.pipe(smooth(pieces))).toBeObservable(expected, events);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'keep their place behind the text before them, but for heartbeats and usage',
    marbles((m) => {
      const source = m.cold(' (asblhu)----(f|)', events);
      const subs = '          ^-----------!    ';
      const expected = '      (hu)(as)(bl)(f|) ';
      m.expect(source.pipe(smooth({ msPerToken: 4, tickMs: 4 }))).toBeObservable(expected, events);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'are paced where they carry text: text, thinking and refusal, each by itself',
    marbles((m) => {
      const source = m.cold(' (atndf|)         ', events);
      const expected = '      ----a---t---n---(df|)';
      m.expect(source.pipe(smooth(characters))).toBeObservable(expected, events);
    }),
  );

  it(
    'are cut and joined within one output only',
    marbles((m) => {
      const source = m.cold(' (xcd|)        ', events);
      const expected = '      ----x---(cd|) ';
      m.expect(source.pipe(smooth({ charsPerSecond: 500, tickMs: 4 }))).toBeObservable(expected, events);
    }),
  );

  it(
    'are void where an answer begins anew: a restart passes at once, without the text that was held',
    marbles((m) => {
      const source = m.cold(' (ab)-r---c|      ', events);
      const subs = '          ^---------!      ';
      const expected = '      ---a-q------(c|) ';
      m.expect(source.pipe(smooth(pieces))).toBeObservable(expected, events);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'that are no text are kept at a restart, and pass before it',
    marbles((m) => {
      const source = m.cold(' (alb)-r---|', events);
      const expected = '      ------(lv)|';
      m.expect(source.pipe(smooth({ msPerToken: 9, tickMs: 9 }))).toBeObservable(expected, events);
    }),
  );

  it('keep the order of the source, whatever the cuts and the times', () => {
    const text = fc.record({
      type: fc.constantFrom('text' as const, 'thinking' as const),
      text: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 8 }),
      index: fc.nat(1),
      name: fc.constant('output'),
    });
    const other = fc.constantFrom(...['s', 'l', 'h', 'u'].flatMap((name) => events[name] ?? []));
    const feed = fc.array(fc.tuple(fc.nat(60), fc.oneof({ weight: 3, arbitrary: text }, other)), { maxLength: 40 });
    const paces = fc.record({
      unit: fc.constantFrom('charsPerSecond' as const, 'msPerToken' as const),
      pace: fc.integer({ min: 1, max: 200 }),
      maxLagMs: fc.integer({ min: 1, max: 300 }),
      maxChars: fc.integer({ min: 1, max: 40 }),
    });
    /** What was said in a row, piece by piece; heartbeats and usage may overtake. */
    const told = (all: readonly StreamEvent[]): string[] => {
      const rows: { place: string; text: string }[] = [];
      for (const event of all) {
        if (event.type === 'heartbeat' || event.type === 'usage') continue;
        const isText = event.type === 'text' || event.type === 'thinking';
        const place = isText ? `${event.type} ${String(event.index)} ` : JSON.stringify(event);
        const last = rows.at(-1);
        if (isText && last?.place === place) last.text += event.text;
        else rows.push({ place, text: isText ? event.text : '' });
      }
      return rows.map((row) => row.place + row.text);
    };
    fc.assert(
      fc.property(feed, paces, (steps, { unit, pace, maxLagMs, maxChars }) => {
        let time = 0;
        const timed = steps.map(([gap, event]): [number, StreamEvent] => [(time += gap), event]);
        const { out, completedAt } = play({ [unit]: pace, maxLagMs, maxChars }, timed);
        expect(told(out.map(([, event]) => event))).toEqual(told(timed.map(([, event]) => event)));
        expect(out.filter(([, { type }]) => type === 'usage')).toEqual(
          timed.filter(([, { type }]) => type === 'usage'),
        );
        expect(completedAt).toBeLessThanOrEqual(time + maxLagMs);
      }),
    );
  });

  it('keep a restart as it is where nothing of its text was held', () => {
    const scheduler = new VirtualTimeScheduler();
    const again = restart(7);
    const seen: StreamEvent[] = [];
    of(thinking('held'), again)
      .pipe(smooth<StreamEvent>({ ...pieces, scheduler }))
      .subscribe((event) => seen.push(event));
    expect(seen[0]).toBe(again);
  });

  it('stay the objects they were where they are not cut', () => {
    const whole = text('whole');
    expect(play(pieces, [[0, whole]]).out[0]?.[1]).toBe(whole);
    const alternative: StreamEvent = { type: 'text', text: 'whole', index: 1, name: 'output', alternative: true };
    const cut = play(characters, [[0, alternative]]).out[0]?.[1];
    expect(cut).toEqual({ ...alternative, text: 'w' });
  });
});

describe('a sink below smooth', () => {
  /** A stream that is fed by hand. */
  class Feed {
    readonly flow = new Flow();
    readonly #pieces = new Subject<string>();
    readonly source = new Observable<string>((subscriber) => {
      register(this.flow);
      subscriber.add(() => this.flow.leave());
      subscriber.add(this.#pieces.subscribe(subscriber));
    });

    give(piece: string): void {
      const previous = this.flow.beginDelivery();
      this.#pieces.next(piece);
      endDelivery(previous);
    }
  }

  function fullAt(piece: string, source: Observable<string>): Scope {
    const scope = new Scope(true);
    new Observable<never>((subscriber) => {
      draw<string>(source, subscriber, scope, () => ({
        next: (each) => {
          if (each === piece) scope.pause();
        },
      }));
    }).subscribe();
    return scope;
  }

  it('pauses the stream that fills it, and no other', () => {
    const scheduler = new VirtualTimeScheduler();
    const [one, two] = [new Feed(), new Feed()];
    const scope = fullAt('from two', merge(one.source, two.source).pipe(smooth({ ...pieces, scheduler })));
    one.give('from one');
    two.give('from two');
    expect([one.flow.paused, two.flow.paused]).toEqual([false, false]);
    scheduler.flush();
    expect([one.flow.paused, two.flow.paused]).toEqual([false, true]);
    scope.release();
    expect([one.flow.paused, two.flow.paused]).toEqual([false, false]);
  });

  it('never gets the text of two streams as one', () => {
    const scheduler = new VirtualTimeScheduler();
    const [one, two] = [new Feed(), new Feed()];
    const seen: string[] = [];
    merge(one.source, two.source)
      .pipe(smooth({ charsPerSecond: 1e6, scheduler }))
      .subscribe((piece) => seen.push(piece));
    one.give('ab');
    two.give('cd');
    scheduler.maxFrames = 1_000;
    scheduler.flush();
    expect(seen).toEqual(['ab', 'c', 'd']);
  });

  it(
    'takes an answer for complete that was complete before it was all let out',
    marbles((m) => {
      const receipts: Receipt[] = [];
      const source = m.cold<StreamEvent>('(abf|)', {
        a: text('A'),
        b: text('B'),
        f: { type: 'finish', reason: 'stop' },
      });
      const call = fromCall(fakeCall(source));
      const told = call.pipe(
        smooth<StreamEvent>(pieces),
        tapReceipt((receipt) => receipts.push(receipt)),
      );
      m.expect(told).toBeObservable('---a--(bf|)', {
        a: text('A'),
        b: text('B'),
        f: { type: 'finish', reason: 'stop' },
      });
      m.flush();
      expect(receipts).toMatchObject([{ outcome: 'complete', chars: 2, finish: { reason: 'stop' } }]);
    }),
  );
});

it('reaches a slow reader of a real answer whole, and leaves the connection as it was', async () => {
  await using server = await startProviderServer();
  const api = polargrid({ apiKey: 'key-of-the-tests', baseURL: server.baseURLs.polargrid });
  const pieces = Array.from({ length: 40 }, (_, index) => `piece ${String(index)} `);
  const read = async (): Promise<string> => {
    server.next({ pieces });
    const answer = fromCall(api.chat({ model: 'm', messages: [{ role: 'user', content: 'Hello' }] }));
    let all = '';
    const tokens = answer.pipe(toTokens(), smooth({ charsPerSecond: 4_000, tickMs: 1, maxLagMs: 50 }));
    for await (const part of asyncIterableFrom(tokens, { pauseAtItems: 1 })) {
      await new Promise((resolve) => setImmediate(resolve));
      all += part;
    }
    return all;
  };
  expect(await read()).toBe(pieces.join(''));
  expect(await read()).toBe(pieces.join(''));
});

describe('the options of smooth', () => {
  it('are refused when called', () => {
    const exactlyOne = 'smooth takes exactly one of charsPerSecond and msPerToken, got';
    expect(() => smooth({})).toThrow(new TypeError(`${exactlyOne} neither`));
    expect(() => smooth({ charsPerSecond: 1, msPerToken: 1 })).toThrow(new TypeError(`${exactlyOne} both`));
    expect(() => smooth({ charsPerSecond: 0 })).toThrow(RangeError);
    expect(() => smooth({ charsPerSecond: NaN })).toThrow(RangeError);
    expect(() => smooth({ msPerToken: 0 })).toThrow(RangeError);
    expect(() => smooth({ msPerToken: 2 ** 31 })).toThrow(RangeError);
    expect(() => smooth({ charsPerSecond: 1, maxLagMs: 0 })).toThrow(RangeError);
    expect(() => smooth({ charsPerSecond: 1, tickMs: 0 })).toThrow(RangeError);
    expect(() => smooth({ charsPerSecond: 1, maxChars: 0 })).toThrow(RangeError);
  });

  it('may ask for no pace at all: what comes within a tick goes out together', () => {
    const { out } = play({ charsPerSecond: Infinity, tickMs: 10 }, [
      [0, 'ab'],
      [5, 'cd'],
      [30, 'ef'],
    ]);
    expect(out).toEqual([
      [10, 'abc'],
      [40, 'def'],
    ]);
  });

  it('do nothing before there is a subscriber', () => {
    const scheduler = new VirtualTimeScheduler();
    NEVER.pipe(smooth({ ...characters, scheduler })).subscribe();
    expect(scheduler.actions).toHaveLength(0);
  });
});
