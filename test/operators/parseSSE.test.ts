import { concat, NEVER, of, Subject, take } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { LimitError } from '../../src/errors.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import type { ServerSentEvent } from '../../src/types.js';
import { bytesOf } from '../support/chunks.js';
import { marbles } from '../support/marbles.js';

const message = (data: string, id = ''): ServerSentEvent => ({ type: 'event', event: 'message', data, id });

const chunks = {
  a: bytesOf('data: 1\n\nda'),
  b: bytesOf('ta: 2'),
  c: bytesOf('\n\n: hi\n'),
  e: new Uint8Array(0),
  f: bytesOf('id: 7\ndata: 3\n\ndata: 4\n\n'),
  l: bytesOf('data: 5\n\ndata: far too long\n\ndata: 6\n\n'),
};
const comment: ServerSentEvent = { type: 'comment', comment: 'hi' };
const events = {
  u: message('1'),
  v: message('2'),
  w: comment,
  x: message('3', '7'),
  y: message('4', '7'),
  z: message('5'),
};

describe('parseSSE', () => {
  it(
    'stays silent while the source does',
    marbles((m) => {
      const source = m.cold(' -');
      const subs = '          ^';
      const expected = '      -';
      m.expect(source.pipe(parseSSE())).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'completes with a source that holds nothing',
    marbles((m) => {
      const source = m.hot('  --e-|', chunks);
      const subs = '          ^---!';
      const expected = '      ----|';
      m.expect(source.pipe(parseSSE())).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'emits a single event and completes with the source',
    marbles((m) => {
      const source = m.hot('  -b-c-|', { b: bytesOf('data: '), c: bytesOf('1\n\n') });
      const subs = '          ^----!';
      const expected = '      ---u-|';
      m.expect(source.pipe(parseSSE())).toBeObservable(expected, events);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'emits events in the same turn as the chunk that completes them',
    marbles((m) => {
      const source = m.hot('  -a----b----c----|', chunks);
      const subs = '          ^---------------!';
      const expected = '      -u---------(vw)-|';
      m.expect(source.pipe(parseSSE())).toBeObservable(expected, events);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'drops an event that the end of the source cuts',
    marbles((m) => {
      const source = m.hot('  -a-b-|', chunks);
      const subs = '          ^----!';
      const expected = '      -u---|';
      m.expect(source.pipe(parseSSE())).toBeObservable(expected, events);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'passes an error of the source on',
    marbles((m) => {
      const source = m.hot('  -a-b-#', chunks);
      const subs = '          ^----!';
      const expected = '      -u---#';
      m.expect(source.pipe(parseSSE())).toBeObservable(expected, events);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'leaves the source when the subscriber leaves',
    marbles((m) => {
      const source = m.hot('  -a-b-c-|', chunks);
      const subs = '          ^---!   ';
      const expected = '      -u---   ';
      m.expect(source.pipe(parseSSE()), subs).toBeObservable(expected, events);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'emits nothing more of a chunk once the subscriber has left',
    marbles((m) => {
      const source = m.hot('  -f-a-|', chunks);
      const subs = '          ^!    ';
      const expected = '      -(x|) ';
      m.expect(source.pipe(parseSSE(), take(1))).toBeObservable(expected, events);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'emits what came before a limit, then errors and closes the source',
    marbles((m) => {
      const source = m.hot('  -c-l-a-|', chunks);
      const subs = '          ^--!    ';
      const expected = '      -w-(z#) ';
      const limit = new LimitError(
        'maxLineBytes',
        9,
        'A line of the event stream is longer than 9 bytes; raise maxLineBytes if it should be',
      );
      m.expect(source.pipe(parseSSE({ maxLineBytes: 9 }))).toBeObservable(expected, events, limit);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'errors at the byte that passes the limit of an event, and not before',
    marbles((m) => {
      const values = { a: bytesOf('data: 1\n'), b: bytesOf('data: 2'), c: bytesOf('3'), d: bytesOf('\n\n') };
      const source = m.hot('  -a-b-c-d|', values);
      const subs = '          ^----!   ';
      const expected = '      -----#   ';
      const fits = '          -------v|';
      const limit = new LimitError(
        'maxEventBytes',
        15,
        'An event is larger than 15 bytes; raise maxEventBytes if it should be',
      );
      m.expect(source.pipe(parseSSE({ maxEventBytes: 15 }))).toBeObservable(expected, {}, limit);
      m.expect(source.pipe(parseSSE({ maxEventBytes: 16 }))).toBeObservable(fits, { v: message('1\n23') });
      m.expect(source).toHaveSubscriptions([subs, '^-------!']);
    }),
  );

  it(
    'gives each subscriber its own parser',
    marbles((m) => {
      const source = m.cold('   -a-b-c----|      ', chunks);
      const first = '           -u---(vw)-|      ';
      const second = '          ---u---(vw)-|    ';
      const parsed = source.pipe(parseSSE());
      m.expect(parsed).toBeObservable(first, events);
      m.expect(parsed, '        --^              ').toBeObservable(second, events);
      m.expect(source).toHaveSubscriptions(['^---------!', '--^---------!']);
    }),
  );

  it('stops a synchronous source in the middle of a chunk', () => {
    let read = 0;
    const source = concat(of(bytesOf('data: 1\n\ndata: 2\n\ndata: 3\n\n')), NEVER);
    const seen: unknown[] = [];
    source.pipe(parseSSE(), take(1)).subscribe({
      next: (event) => {
        read++;
        seen.push(event);
      },
      complete: () => seen.push('complete'),
    });
    expect(read).toBe(1);
    expect(seen).toStrictEqual([message('1'), 'complete']);
  });

  it('finishes the chunk in hand before what a subscriber feeds into the source meanwhile', () => {
    const source: Subject<Uint8Array> = new Subject();
    const seen: string[] = [];
    source.pipe(parseSSE()).subscribe({
      next: (event) => {
        if (event.type !== 'event') return;
        seen.push(event.data);
        if (event.data !== '1') return;
        source.next(bytesOf('3\n\n'));
        source.complete();
      },
      complete: () => seen.push('complete'),
    });
    source.next(bytesOf('data: 1\n\ndata: 2\n\ndata: '));
    expect(seen).toStrictEqual(['1', '2', '3', 'complete']);
  });

  it.each([0, Number.NaN])('refuses a limit of %s when called', (limit) => {
    expect(() => parseSSE({ maxLineBytes: limit })).toThrow(RangeError);
    expect(() => parseSSE({ maxEventBytes: limit })).toThrow('maxEventBytes must be a number of at least 1');
  });
});
