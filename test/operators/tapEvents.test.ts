import { from, Subject, take } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { type EventCallbacks, tapEvents } from '../../src/operators/tapEvents.js';
import type { StreamEvent } from '../../src/types.js';
import { marbles } from '../support/marbles.js';

const events: Record<string, StreamEvent> = {
  a: { type: 'text', text: 'A', index: 0, name: 'output' },
  b: { type: 'text', text: 'B', index: 0, name: 'output' },
  t: { type: 'thinking', text: 'T', index: 0, name: 'thinking' },
  c: { type: 'tool-call', index: 0, id: '1', name: 'look', arguments: {}, argumentsText: '{}' },
  f: { type: 'finish', reason: 'stop' },
};

describe('tapEvents', () => {
  it(
    'stays silent while the source does',
    marbles((m) => {
      const source = m.cold(' -');
      const subs = '          ^';
      const expected = '      -';
      m.expect(source.pipe(tapEvents({}))).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'completes with a source that holds nothing',
    marbles((m) => {
      const source = m.cold(' --|');
      const subs = '          ^-!';
      const expected = '      --|';
      m.expect(source.pipe(tapEvents({}))).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'calls the callback of each event’s type and passes every event on',
    marbles((m) => {
      const seen: unknown[] = [];
      const callbacks: EventCallbacks = {
        text: ({ text }) => seen.push(text),
        'tool-call': ({ name }) => seen.push(name),
        finish: ({ reason }) => seen.push(reason),
        status: undefined,
      };
      const source = m.cold(' -a-t-b-c-(f|)', events);
      const subs = '          ^--------!   ';
      const expected = '      -a-t-b-c-(f|)';
      m.expect(source.pipe(tapEvents(callbacks))).toBeObservable(expected, events);
      m.expect(source).toHaveSubscriptions(subs);
      m.flush();
      expect(seen).toStrictEqual(['A', 'B', 'look', 'stop']);
    }),
  );

  it(
    'passes the source’s error on',
    marbles((m) => {
      const source = m.cold(' -a-#', events);
      const subs = '          ^--!';
      const expected = '      -a-#';
      m.expect(source.pipe(tapEvents({}))).toBeObservable(expected, events);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'errors with what a callback throws, and leaves the source',
    marbles((m) => {
      const thrown = new RangeError('too much');
      const thinking = (): void => {
        throw thrown;
      };
      const source = m.cold(' -a-t-b-|', events);
      const subs = '          ^--!    ';
      const expected = '      -a-#    ';
      m.expect(source.pipe(tapEvents({ thinking }))).toBeObservable(expected, events, thrown);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'leaves the source when the subscriber leaves',
    marbles((m) => {
      const source = m.cold(' -a-b-|', events);
      const subs = '          ^-!   ';
      const expected = '      -a-   ';
      m.expect(source.pipe(tapEvents({})), subs).toBeObservable(expected, events);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'calls back for each subscriber',
    marbles((m) => {
      const seen: string[] = [];
      const source = m.cold('   -a-b|  ', events);
      const first = '           -a-b|  ';
      const second = '          ---a-b|';
      const tapped = source.pipe(tapEvents({ text: ({ text }) => seen.push(text) }));
      m.expect(tapped).toBeObservable(first, events);
      m.expect(tapped, '        --^    ').toBeObservable(second, events);
      m.expect(source).toHaveSubscriptions(['^---!', '--^---!']);
      m.flush();
      expect(seen).toStrictEqual(['A', 'B', 'A', 'B']);
    }),
  );

  it('stops a synchronous source', () => {
    let produced = 0;
    function* endless(): Generator<StreamEvent> {
      for (;;) {
        produced += 1;
        yield { type: 'text', text: 'A', index: 0, name: 'output' };
      }
    }
    const seen: string[] = [];
    from(endless())
      .pipe(tapEvents({ text: ({ text }) => seen.push(text) }), take(1))
      .subscribe();
    expect(seen).toStrictEqual(['A']);
    expect(produced).toBe(1);
  });

  it('hears of what a callback feeds into the source, after the callback', () => {
    const source: Subject<StreamEvent> = new Subject();
    const seen: string[] = [];
    const text = (event: { readonly text: string }): void => {
      seen.push(event.text);
      if (seen.length === 1) source.next({ type: 'text', text: 'B', index: 0, name: 'output' });
    };
    source.pipe(tapEvents({ text })).subscribe();
    source.next({ type: 'text', text: 'A', index: 0, name: 'output' });
    expect(seen).toStrictEqual(['A', 'B']);
  });

  it('refuses a callback that is no function, when called', () => {
    expect(() => tapEvents({ text: 'print' as never })).toThrow(TypeError);
    expect(() => tapEvents({ text: 'print' as never })).toThrow("The callback for 'text' must be a function");
  });
});
