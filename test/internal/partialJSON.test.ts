import { assert, constantFrom, integer, json as anyJSON, property, array, string } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LimitError, ProtocolError } from '../../src/errors.js';
import { PartialJSON } from '../../src/internal/partialJSON.js';

/** What shows after each piece; `undefined` where nothing changed. */
function shown(...pieces: readonly string[]): readonly unknown[] {
  const json = new PartialJSON(128);
  return pieces.map((piece) => {
    json.push(piece);
    return json.view()?.();
  });
}

/** Cuts a text at places that are numbers of any size. */
function cut(text: string, places: readonly number[]): readonly string[] {
  const at = places.map((place) => place % (text.length + 1)).sort((a, b) => a - b);
  return [0, ...at].map((from, index) => text.slice(from, at[index]));
}

/** Whether `later` is `earlier` with more behind it. */
function grows(earlier: unknown, later: unknown): boolean {
  if (typeof earlier === 'string') return typeof later === 'string' && later.startsWith(earlier);
  if (Array.isArray(earlier)) {
    return Array.isArray(later) && earlier.every((item, index) => index < later.length && grows(item, later[index]));
  }
  if (typeof earlier === 'object' && earlier !== null) {
    if (typeof later !== 'object' || later === null || Array.isArray(later)) return false;
    const more = new Map<string, unknown>(Object.entries(later));
    return Object.entries(earlier).every(([key, value]) => more.has(key) && grows(value, more.get(key)));
  }
  return Object.is(earlier, later);
}

/** The arrays and objects in a value. */
function containers(value: unknown): readonly object[] {
  if (typeof value !== 'object' || value === null) return [];
  return [value, ...Object.values(value).flatMap(containers)];
}

describe('PartialJSON', () => {
  it('shows strings while they grow, and keys with their values', () => {
    expect(shown('{', '"na', 'me"', ':', '"', 'Ad', 'a"', ',', '"x', '":', '[', '"')).toStrictEqual([
      {},
      undefined,
      undefined,
      undefined,
      { name: '' },
      { name: 'Ad' },
      { name: 'Ada' },
      undefined,
      undefined,
      undefined,
      { name: 'Ada', x: [] },
      { name: 'Ada', x: [''] },
    ]);
  });

  it('shows a number when it is certain', () => {
    expect(shown('[1', '2', '.5', 'e1', ',', '-', '0', ']')).toStrictEqual([
      [],
      undefined,
      undefined,
      undefined,
      [125],
      undefined,
      undefined,
      [125, -0],
    ]);
  });

  it('shows true, false and null when they are whole', () => {
    expect(shown('[t', 'rue', ',fal', 'se,n', 'ull')).toStrictEqual([
      [],
      [true],
      undefined,
      [true, false],
      [true, false, null],
    ]);
  });

  it('shows nothing of an escape before it is whole, and what stands before it at once', () => {
    expect(shown('"a\\', 'nb\\u', '00', 'e9c\\', '\\d\\\\', '\\', '"e"')).toStrictEqual([
      'a',
      'a\nb',
      undefined,
      'a\nbéc',
      'a\nbéc\\d\\',
      undefined,
      'a\nbéc\\d\\"e',
    ]);
    expect(shown('"a\\b', '\\f', '"')).toStrictEqual(['a\b', 'a\b\f', undefined]);
  });

  it('shows nothing of half a character', () => {
    expect(shown('"a\ud83d', '\ude00', 'b"')).toStrictEqual(['a', 'a😀', 'a😀b']);
    expect(shown('"a\\ud83d', '\\ud', 'e00', 'b"')).toStrictEqual(['a', undefined, 'a😀', 'a😀b']);
  });

  it('keeps half a character that stays alone', () => {
    expect(shown('"\ud83d', 'a\ude00', '\ude00"')).toStrictEqual(['', '\ud83da\ude00', '\ud83da\ude00\ude00']);
    expect(shown('"\\ud83d', 'a"')).toStrictEqual(['', '\ud83da']);
  });

  it.each(['[1', '{"a":"b', '"a', '12', 'true', '[{"a":[[', '{"a":{}', '-', '1.', '1e', 'tr', ''])(
    'does not hold %j for whole unless it is',
    (text) => {
      const json = new PartialJSON(128);
      json.push(text);
      expect(json.isWhole).toBe(text === 'true');
      if (/\d$/.test(text) && !text.startsWith('[')) expect(json.end()).toBe(true);
    },
  );

  it.each([
    ...[
      '[1 2',
      '[,',
      '[1,]',
      '[}',
      '{]',
      '{,',
      '{"a"}',
      '{"a",',
      '{"a":}',
      '{"a":1,}',
      '{"a":1 "',
      '{1',
      '{t',
      '[:',
      ']',
      '}',
    ],
    ...[
      '1 2',
      '{} {',
      '""a',
      '01',
      '+1',
      '.5',
      '"\u0000',
      '"\\x',
      '"\\u00g',
      "'a'",
      'nul ',
      'tRue',
      '\\',
      '[\\',
      '[]\ud800',
      'NaN',
    ],
    ...['//', '`', '{"a" "', '\u00a0[', ':', ',', '[1"', '[1t', '--', '{{', '{[', '[\ufeff'],
  ])('refuses %j, and does not quote it', (text) => {
    for (const pieces of [[text], [...text]]) {
      const json = new PartialJSON(128);
      let thrown: unknown;
      try {
        for (const piece of pieces) json.push(piece);
      } catch (error) {
        thrown = error;
      }
      expect(thrown).toBeInstanceOf(ProtocolError);
      expect((thrown as Error).message).toMatch(
        /^What came is not JSON: unexpected text between its characters \d+ and \d+$/,
      );
      expect((thrown as Error).cause).toBeUndefined();
    }
  });

  it('takes a depth of maxDepth and not one more', () => {
    const json = new PartialJSON(3);
    json.push('[{"a":[],"b":{');
    expect(json.view()?.()).toStrictEqual([{ a: [], b: {} }]);
    expect(() => {
      json.push('"c":[');
    }).toThrow(LimitError);
  });

  it('reads a value of any depth that it is allowed', () => {
    const json = new PartialJSON(Infinity);
    json.push('['.repeat(20_000));
    const view = json.view();
    json.push(']'.repeat(20_000));
    expect(json.isWhole).toBe(true);
    let [depth, value] = [0, view?.()];
    for (; Array.isArray(value); value = value[0] as unknown) depth += 1;
    expect(depth).toBe(20_000);
  });

  it('takes __proto__ and its like for keys', () => {
    const text =
      '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"toString":"x","hasOwnProperty":1,"a":"';
    for (const view of shown(...text)) {
      if (typeof view !== 'object' || view === null) continue;
      expect(Object.getPrototypeOf(view)).toBe(Object.prototype);
      expect('polluted' in view).toBe(false);
    }
    expect(JSON.stringify(shown(text)[0])).toBe(`${text}"}`);
    expect('polluted' in {}).toBe(false);
  });

  it('lets the last of two equal keys win, as JSON.parse does', () => {
    expect(shown('{"a":1,"b":2,"a":', '"x')).toStrictEqual([
      { a: 1, b: 2 },
      { a: 'x', b: 2 },
    ]);
  });

  it('shows each value as it was, however late it is read', () => {
    const json = new PartialJSON(128);
    const text = '{"a":[{"b":"c","d":[1,2]},"ef"],"g":{"h":{}}}';
    const early: unknown[] = [];
    const late: (() => unknown)[] = [];
    for (const character of text) {
      json.push(character);
      const view = json.view();
      if (view === undefined) continue;
      early.push(structuredClone(view()));
      late.push(view);
    }
    expect(late.map((view) => view())).toStrictEqual(early);
    expect(early.at(-1)).toStrictEqual(JSON.parse(text));
  });

  it('copies no more than what is open, however much is whole', () => {
    const item = { id: 7, tags: ['a', 'b'], inner: { text: 'some words' } };
    const text = JSON.stringify({ items: Array.from({ length: 50 }, () => item), end: 'x' });
    const json = new PartialJSON(128);
    let known = new Set<object>();
    let most = 0;
    let copied = 0;
    for (const character of text) {
      json.push(character);
      const view = json.view()?.();
      if (view === undefined) continue;
      const now = containers(view);
      const fresh = now.filter((container) => !known.has(container)).length;
      most = Math.max(most, fresh);
      copied += fresh;
      known = new Set(now);
    }
    // The root, the items, the item, and a part of it: those on the path. One that has just ended may stand beside them.
    expect(most).toBeLessThanOrEqual(5);
    expect(copied).toBeLessThanOrEqual(5 * text.length);
    expect(known.size).toBe(152);
  });

  it('ends with the value, each view being more of it, for any value and any cuts', () => {
    assert(
      property(anyJSON(), array(integer({ min: 0, max: 1e6 })), constantFrom(0, 1, '\t'), (text, places, space) => {
        const value: unknown = JSON.parse(text);
        const spaced = JSON.stringify(value, null, space);
        const json = new PartialJSON(128);
        let last: unknown;
        for (const piece of cut(spaced, places)) {
          json.push(piece);
          const view = json.view()?.();
          if (view === undefined) continue;
          if (last !== undefined) expect(grows(last, view)).toBe(true);
          expect(grows(view, value)).toBe(true);
          last = view;
        }
        expect(json.end()).toBe(true);
        expect(json.view()?.() ?? last).toStrictEqual(value);
      }),
    );
  });

  it('reads strings of any characters, escaped or not, with any cuts', () => {
    assert(
      property(
        string({ unit: constantFrom('a', '\\', '"', '\n', 'é', '😀', '\ud83d', '\ude00', '\u0001', '/', '漢') }),
        array(integer({ min: 0, max: 1e6 })),
        constantFrom(false, true),
        (value, places, isEscaped) => {
          const plain = JSON.stringify(value);
          const text = isEscaped
            ? `"${Array.from({ length: value.length }, (_, at) => `\\u${value.charCodeAt(at).toString(16).padStart(4, '0')}`).join('')}"`
            : plain.replace(/\\u(d83d|de00)/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
          const expected: unknown = JSON.parse(text);
          const json = new PartialJSON(128);
          let last: unknown = '';
          for (const piece of cut(text, places)) {
            json.push(piece);
            const view = json.view()?.() ?? last;
            expect(grows(last, view)).toBe(true);
            last = view;
          }
          expect(last).toBe(expected);
          expect(json.isWhole).toBe(true);
        },
      ),
    );
  });
});
