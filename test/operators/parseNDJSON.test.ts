import { of, Subject, take } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { LimitError } from '../../src/errors.js';
import { parseNDJSON } from '../../src/operators/parseNDJSON.js';
import type { NDJSONLine } from '../../src/types.js';
import { bytesOf } from '../support/chunks.js';
import { marbles } from '../support/marbles.js';

const line = (number: number, data: string): NDJSONLine => ({ type: 'line', data, number });

const chunks = {
  a: bytesOf('{"n":1}\n{"n"'),
  b: bytesOf(':2}'),
  c: bytesOf('\r\n\n{"n":3}\n'),
  e: new Uint8Array(0),
};
const lines = { x: line(1, '{"n":1}'), y: line(2, '{"n":2}'), z: line(4, '{"n":3}') };

describe('parseNDJSON', () => {
  it(
    'stays silent while the source does',
    marbles((m) => {
      const source = m.cold(' -');
      const subs = '          ^';
      const expected = '      -';
      m.expect(source.pipe(parseNDJSON())).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'completes with a source that holds nothing',
    marbles((m) => {
      const source = m.hot('  --e-|', chunks);
      const subs = '          ^---!';
      const expected = '      ----|';
      m.expect(source.pipe(parseNDJSON())).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'emits lines in the same turn as the chunk that completes them',
    marbles((m) => {
      const source = m.hot('  -a----b----c----|', chunks);
      const subs = '          ^---------------!';
      const expected = '      -x---------(yz)-|';
      m.expect(source.pipe(parseNDJSON())).toBeObservable(expected, lines);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'emits a last line without a line end when the source completes',
    marbles((m) => {
      const source = m.hot('  -a----b----|   ', chunks);
      const subs = '          ^----------!   ';
      const expected = '      -x---------(y|)';
      const y: NDJSONLine = { ...lines.y, unterminated: true };
      m.expect(source.pipe(parseNDJSON())).toBeObservable(expected, { ...lines, y });
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'drops an unfinished line when the source errors',
    marbles((m) => {
      const source = m.hot('  -a-b-#', chunks);
      const subs = '          ^----!';
      const expected = '      -x---#';
      m.expect(source.pipe(parseNDJSON())).toBeObservable(expected, lines);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'leaves the source when the subscriber leaves',
    marbles((m) => {
      const source = m.hot('  -a-b-c-|', chunks);
      const subs = '          ^---!   ';
      const expected = '      -x---   ';
      m.expect(source.pipe(parseNDJSON()), subs).toBeObservable(expected, lines);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'emits nothing more of a chunk once the subscriber has left',
    marbles((m) => {
      const source = m.hot('  -a-b-c-|', chunks);
      const subs = '          ^----!  ';
      const expected = '      -x---(y|)';
      m.expect(source.pipe(parseNDJSON(), take(2))).toBeObservable(expected, lines);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'emits what came before the limit, then errors and closes the source',
    marbles((m) => {
      const source = m.hot('  -a-b-c-|', { ...chunks, b: bytesOf(':123') });
      const subs = '          ^--!    ';
      const expected = '      -x-#    ';
      const limit = new LimitError(
        'maxLineBytes',
        7,
        'A line of NDJSON is longer than 7 bytes; raise maxLineBytes if it should be',
      );
      m.expect(source.pipe(parseNDJSON({ maxLineBytes: 7 }))).toBeObservable(expected, lines, limit);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'gives each subscriber its own parser',
    marbles((m) => {
      const source = m.cold('   -a-b-c----|  ', chunks);
      const first = '           -x---(yz)-|  ';
      const second = '          ---x---(yz)-|';
      const parsed = source.pipe(parseNDJSON());
      m.expect(parsed).toBeObservable(first, lines);
      m.expect(parsed, '        --^          ').toBeObservable(second, lines);
      m.expect(source).toHaveSubscriptions(['^---------!', '--^---------!']);
    }),
  );

  it('stops a synchronous source in the middle of a chunk', () => {
    const seen: unknown[] = [];
    of(bytesOf('1\n2\n3\n'), bytesOf('4'))
      .pipe(parseNDJSON(), take(2))
      .subscribe({ next: ({ data }) => seen.push(data), complete: () => seen.push('complete') });
    expect(seen).toStrictEqual(['1', '2', 'complete']);
  });

  it('finishes the chunk in hand before what a subscriber feeds into the source meanwhile', () => {
    const source: Subject<Uint8Array> = new Subject();
    const seen: string[] = [];
    source.pipe(parseNDJSON()).subscribe({
      next: ({ data }) => {
        seen.push(data);
        if (data !== '1') return;
        source.next(bytesOf('4'));
        source.complete();
      },
      complete: () => seen.push('complete'),
    });
    source.next(bytesOf('1\n2\n3'));
    expect(seen).toStrictEqual(['1', '2', '34', 'complete']);
  });

  it.each([0, Number.NaN])('refuses a limit of %s when called', (maxLineBytes) => {
    expect(() => parseNDJSON({ maxLineBytes })).toThrow('maxLineBytes must be a number of at least 1');
  });
});
