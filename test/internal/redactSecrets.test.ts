import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { redactSecrets } from '../../src/internal/redactSecrets.js';

describe('a text that a server sent', () => {
  it.each<[string, Record<string, string>, string, string]>([
    ['a whole value', { 'x-api-key': 'sk-12345678' }, 'bad key sk-12345678!', 'bad key [redacted]!'],
    ['a key without its scheme', { authorization: 'Bearer sk-12345678' }, 'key sk-12345678', 'key [redacted]'],
    ['a key with its scheme', { authorization: 'Bearer sk-12345678' }, 'got Bearer sk-12345678', 'got [redacted]'],
    ['every occurrence', { 'x-api-key': 'sk-12345678' }, 'sk-12345678sk-12345678', '[redacted][redacted]'],
    ['a key with signs of a pattern', { 'x-api-key': '$&.*+?(12' }, 'key $&.*+?(12', 'key [redacted]'],
    ['a key that begins another', { 'x-a': 'abcdefgh', 'x-b': 'abcdefghijkl' }, 'abcdefghijkl', '[redacted]'],
  ])('loses %s', (_, headers, text, clean) => {
    expect(redactSecrets(text, headers)).toBe(clean);
  });

  it.each<[string, Record<string, string>, string]>([
    ['words as short as a scheme', { authorization: 'Bearer sk-12345678' }, 'a Bearer is missing'],
    ['values too short to be keys', { 'x-flag': 'enabled' }, 'it is enabled'],
    [
      'values that are no secrets',
      { accept: 'text/event-stream', 'user-agent': 'millrace/1' },
      'text/event-stream millrace/1',
    ],
    ['anything, where there are no headers', {}, 'sk-12345678'],
  ])('keeps %s', (_, headers, text) => {
    expect(redactSecrets(text, headers)).toBe(text);
  });

  it('holds no key afterwards, wherever the keys stood and however they overlap', () => {
    // No brackets, and more than letters: a key cannot be part of the replacement.
    const key = fc.stringMatching(/^[A-C0-2]{8,14}$/);
    const headers = fc.dictionary(fc.constantFrom('authorization', 'x-api-key', 'x-goog-api-key', 'cookie'), key);
    fc.assert(
      fc.property(headers, fc.boolean(), fc.array(fc.string(), { maxLength: 6 }), (keys, hasScheme, words) => {
        const secrets = Object.values(keys);
        const sent = Object.fromEntries(
          Object.entries(keys).map(([name, value]) => [name, hasScheme ? `Bearer ${value}` : value]),
        );
        const text = [...secrets, ...words, ...secrets.toReversed()].join(' ');
        const clean = redactSecrets(text, sent);
        for (const secret of secrets) expect(clean).not.toContain(secret);
      }),
    );
  });
});

it('loses a key however JSON escapes it', () => {
  const character = fc.constantFrom('/', '"', '\\', 'a', 'B', '0', 'é');
  const escaped = fc.array(fc.tuple(character, fc.nat(2)), { minLength: 8, maxLength: 12 });
  fc.assert(
    fc.property(escaped, (pieces) => {
      const secret = pieces.map(([piece]) => piece).join('');
      const written = pieces.map(([piece, way]) => {
        const code = piece.charCodeAt(0).toString(16).padStart(4, '0');
        if (way > 0) return `\\u${way === 1 ? code : code.toUpperCase()}`;
        return /["\\/]/.test(piece) ? `\\${piece}` : piece;
      });
      expect(redactSecrets(`{"\\n":"é\\"${written.join('')}\\u00e9`, { 'x-api-key': secret })).toBe(
        '{"\\n":"é\\"[redacted]\\u00e9',
      );
    }),
  );
});
