import { from, Subject, take } from 'rxjs';
import { describe, expect, it, vi } from 'vitest';
import { ProviderError } from '../../src/errors.js';
import { toTokens, type ToTokensOptions } from '../../src/operators/toTokens.js';
import type { StreamEvent } from '../../src/types.js';
import { marbles } from '../support/marbles.js';

function text(piece: string, index = 0, name = 'output'): StreamEvent {
  return { type: 'text', text: piece, index, name };
}

const events: Record<string, StreamEvent> = {
  a: text('A'),
  b: text('B'),
  c: text('C', 1),
  o: { type: 'text', text: 'other answer', index: 1, name: 'output', alternative: true },
  t: { type: 'thinking', text: 'T', index: 0, name: 'thinking' },
  u: { type: 'thinking', text: 'U', index: 0, name: 'thinking' },
  n: { type: 'refusal', text: 'no', index: 0, name: 'output' },
  h: { type: 'heartbeat', comment: '' },
  r: { type: 'restart', attempt: 2, because: 'connection lost', discard: { chars: 9 } },
  f: { type: 'finish', reason: 'stop' },
};

const tokens = { A: 'A', B: 'B', C: 'C', T: 'T', U: 'U', O: 'other answer' };

describe('toTokens', () => {
  it(
    'stays silent while the source does',
    marbles((m) => {
      const source = m.cold(' -');
      const subs = '          ^';
      const expected = '      -';
      m.expect(source.pipe(toTokens())).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'completes with a source that holds no text',
    marbles((m) => {
      const source = m.cold(' -h-n-(f|)', events);
      const subs = '          ^----!   ';
      const expected = '      -----|   ';
      m.expect(source.pipe(toTokens())).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'emits the text of the answer as it comes, and no thinking',
    marbles((m) => {
      const source = m.cold(' -a-t-b-(f|)', events);
      const subs = '          ^------!   ';
      const expected = '      -A---B-|   ';
      m.expect(source.pipe(toTokens())).toBeObservable(expected, tokens);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'emits thinking alone when asked for it',
    marbles((m) => {
      const source = m.cold(' -t-u-a-(f|)', events);
      const subs = '          ^------!   ';
      const expected = '      -T-U---|   ';
      m.expect(source.pipe(toTokens({ channel: 'thinking' }))).toBeObservable(expected, tokens);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'passes the source’s error on',
    marbles((m) => {
      const source = m.hot('  -a-#', events);
      const subs = '          ^--!';
      const expected = '      -A-#';
      m.expect(source.pipe(toTokens())).toBeObservable(expected, tokens);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'leaves the source when the subscriber leaves',
    marbles((m) => {
      const source = m.hot('  -a-b-|', events);
      const subs = '          ^-!   ';
      const expected = '      -A-   ';
      m.expect(source.pipe(toTokens()), subs).toBeObservable(expected, tokens);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'selects for each subscriber afresh',
    marbles((m) => {
      const source = m.hot('  -a-c-b-c|', events);
      const first = '         -A---B--|';
      const second = '        ---C---C|';
      const tokensOfOne = source.pipe(toTokens());
      m.expect(tokensOfOne).toBeObservable(first, tokens);
      m.expect(tokensOfOne, ' --^      ').toBeObservable(second, tokens);
      m.expect(source).toHaveSubscriptions(['^-------!', '--^-----!']);
    }),
  );

  it('stops a synchronous source', () => {
    let produced = 0;
    function* endless(): Generator<StreamEvent> {
      for (;;) {
        produced += 1;
        yield text('A');
      }
    }
    const seen: string[] = [];
    from(endless())
      .pipe(toTokens(), take(1))
      .subscribe({ next: (token) => seen.push(token), complete: () => seen.push('complete') });
    expect(seen).toStrictEqual(['A', 'complete']);
    expect(produced).toBe(1);
  });

  it('counts what is void when a subscriber feeds the source from inside next', () => {
    const source: Subject<StreamEvent> = new Subject();
    const onRestart = vi.fn();
    const seen: string[] = [];
    source.pipe(toTokens({ onRestart })).subscribe((token) => {
      seen.push(token);
      if (token !== 'one') return;
      source.next({ type: 'restart', attempt: 2, because: 'lost', discard: { chars: 3 } });
      source.next(text('again'));
    });
    source.next(text('one'));
    expect(seen).toStrictEqual(['one', 'again']);
    expect(onRestart.mock.calls).toStrictEqual([[{ chars: 3 }]]);
  });
});

describe('the output that toTokens gives', () => {
  const several: Record<string, StreamEvent> = {
    a: text('a0', 0),
    b: text('b0', 0),
    c: text('c1', 1),
    d: text('d1', 1),
    e: text('e-code', 0, 'code'),
    o: { type: 'text', text: 'o2', index: 2, name: 'output', alternative: true },
  };
  const values = { A: 'a0', B: 'b0', C: 'c1', D: 'd1', E: 'e-code', O: 'o2' };

  //            source   -ocadbeo-|
  it.each<[string, string, ToTokensOptions]>([
    ['is the first one that comes', '        --C-D----|', {}],
    ['is the one with the index', '          ---A-B---|', { index: 0 }],
    ['is the one with the name', '           ------E--|', { name: 'code' }],
    ['is the one with both', '               ------E--|', { index: 0, name: 'code' }],
    ['may be an alternative by its index', ' -O-----O-|', { index: 2 }],
    ['may be none', '                        ---------|', { index: 5 }],
  ])('%s', (_, expected, options) => {
    marbles((m) => {
      const source = m.cold('-ocadbeo-|', several);
      const subs = '         ^--------!';
      m.expect(source.pipe(toTokens(options))).toBeObservable(expected, values);
      m.expect(source).toHaveSubscriptions(subs);
    })();
  });
});

describe('a restart', () => {
  const again = new ProviderError(
    'The answer began anew (connection lost) after tokens were emitted; toTokens({ onRestart }) says what to do, ' +
      'and sinks that take StreamEvents can start over',
    { retryable: false, providerCode: 'restart' },
  );

  it(
    'after some text is an error, and leaves the source',
    marbles((m) => {
      const source = m.cold(' -a-r-b|', events);
      const subs = '          ^--!   ';
      const expected = '      -A-#   ';
      m.expect(source.pipe(toTokens())).toBeObservable(expected, tokens, again);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'before any text passes unnoticed',
    marbles((m) => {
      const source = m.cold(' -t-r-b|', events);
      const subs = '          ^-----!';
      const expected = '      -----B|';
      m.expect(source.pipe(toTokens())).toBeObservable(expected, tokens);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'goes on with the new answer when told to ignore it',
    marbles((m) => {
      const source = m.cold(' -a-r-b|', events);
      const subs = '          ^-----!';
      const expected = '      -A---B|';
      m.expect(source.pipe(toTokens({ onRestart: 'ignore' }))).toBeObservable(expected, tokens);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'tells a function how many characters are void, each time',
    marbles((m) => {
      const discarded: unknown[] = [];
      const source = m.cold(' -a-b-r-b-r-r|', events);
      const subs = '          ^-----------!';
      const expected = '      -A-B---B----|';
      const restarting = toTokens({ onRestart: (discard) => discarded.push(discard) });
      m.expect(source.pipe(restarting)).toBeObservable(expected, tokens);
      m.expect(source).toHaveSubscriptions(subs);
      m.flush();
      expect(discarded).toStrictEqual([{ chars: 2 }, { chars: 1 }]);
    }),
  );

  it(
    'errors with what the function throws, and leaves the source',
    marbles((m) => {
      const thrown = new RangeError('cannot be unsaid');
      const source = m.cold(' -a-r-b|', events);
      const subs = '          ^--!   ';
      const expected = '      -A-#   ';
      const restarting = toTokens({
        onRestart: () => {
          throw thrown;
        },
      });
      m.expect(source.pipe(restarting)).toBeObservable(expected, tokens, thrown);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'lets the new answer’s first output be another one',
    marbles((m) => {
      const source = m.cold(' -a-r-c-a-c|', events);
      const subs = '          ^---------!';
      const expected = '      -A---C---C|';
      m.expect(source.pipe(toTokens({ onRestart: 'ignore' }))).toBeObservable(expected, tokens);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );
});

describe('the options of toTokens', () => {
  it('are refused when called', () => {
    expect(() => toTokens({ channel: 'both' as 'output' })).toThrow(
      "channel must be one of 'output', 'thinking', got both",
    );
    expect(() => toTokens({ onRestart: 'maybe' as 'ignore' })).toThrow(
      "onRestart must be one of 'error', 'ignore', got maybe",
    );
  });
});
