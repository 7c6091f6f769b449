import { describe, expect, it } from 'vitest';
import { suggestion } from '../../src/cli/suggestion.js';

const KNOWN = ['baseUrl', 'keyEnv', 'model', 'mode', 'use'];

describe('suggestion', () => {
  it.each([
    ['baseURL', 'baseUrl'],
    ['bseUrl', 'baseUrl'],
    ['basUerl', 'baseUrl'],
    ['keyenv', 'keyEnv'],
    ['modle', 'model'],
    ['us', 'use'],
  ])('knows what %s was meant as', (word, meant) => {
    expect(suggestion(word, KNOWN)).toBe(` (Did you mean ${meant}?)`);
  });

  it.each(['colour', '', 'x'.repeat(1000), 'temperature'])('says nothing of what is far from all (%#)', (word) => {
    expect(suggestion(word, KNOWN)).toBe('');
  });
});
