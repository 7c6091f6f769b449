/** Warnings of the process while a test file runs, and those that its tests expect. */
export class Warnings {
  readonly #seen: Error[] = [];
  readonly #expected: RegExp[] = [];

  note(warning: Error): void {
    this.#seen.push(warning);
  }

  expect(pattern: RegExp): void {
    this.#expected.push(pattern);
  }

  /** What is wrong: a warning of Node's that nobody expects, or an expected one that did not come. Begins afresh. */
  take(): readonly string[] {
    const seen = this.#seen.splice(0);
    const expected = this.#expected.splice(0);
    const textOf = ({ name, message }: Error): string => `${name}: ${message}`;
    return [
      ...seen
        // Our own tell of what a test may well have done on purpose, such as closing a server before it answered a cancellation.
        .filter(({ name }) => name !== 'MillraceWarning')
        .filter((warning) => !expected.some((pattern) => pattern.test(textOf(warning))))
        .map((warning) => `unexpected ${warning.stack ?? textOf(warning)}`),
      ...expected
        .filter((pattern) => !seen.some((warning) => pattern.test(textOf(warning))))
        .map((pattern) => `expected and not seen: ${String(pattern)}`),
    ];
  }
}

/** Those of the file that runs. */
export const warnings: Warnings = new Warnings();

/**
 * Declares that a test makes the process warn, by a pattern of the warning's `name: message`. Any other one of Node's fails the file,
 * and so does this one when it does not come.
 */
export function expectWarning(pattern: RegExp): void {
  warnings.expect(pattern);
}
