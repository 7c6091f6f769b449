import { configure } from 'rxjs-marbles';
import { expect } from 'vitest';

/** rxjs-marbles in run mode (virtual time for every scheduler), comparing with vitest's strict equality. */
export const { marbles } = configure({
  assertDeepEqual: (actual: unknown, expected: unknown) => {
    expect(actual).toStrictEqual(expected);
  },
  frameworkMatcher: true,
  run: true,
});
