import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { redactURL } from '../../src/internal/redactURL.js';

describe('a URL as errors show it', () => {
  it.each([
    ['https://api.example/v1/chat', 'https://api.example/v1/chat'],
    ['https://api.example/v1?key=sk-1&x=2#part', 'https://api.example/v1'],
    ['https://user:sk-1@api.example:8443/v1', 'https://api.example:8443/v1'],
    ['https://api.example', 'https://api.example/'],
    ['redis://user:sk-1@host:6379/0?db=1', 'redis://host:6379/0'],
  ])('of %s is %s', (url, shown) => {
    expect(redactURL(url)).toBe(shown);
    expect(redactURL(new URL(url))).toBe(shown);
  });

  it('has neither credentials nor query nor fragment', () => {
    const secret = fc.stringMatching(/^[A-Z]{12}$/);
    fc.assert(
      fc.property(secret, secret, secret, secret, (user, password, query, fragment) => {
        const shown = redactURL(`https://${user}:${password}@api.example/v1?key=${query}#${fragment}`);
        expect(shown).toBe('https://api.example/v1');
      }),
    );
  });
});
