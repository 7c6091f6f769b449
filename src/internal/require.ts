/** The longest delay that a timer can hold; a longer one would fire at once. */
export const MAX_DELAY_MS: number = 2 ** 31 - 1;

/** Throws RangeError unless every named value is a number of at least `min`; NaN is refused. */
export function requireAtLeast(min: number, values: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(values)) {
    if (typeof value !== 'number' || !(value >= min)) {
      throw new RangeError(`${name} must be a number of at least ${String(min)}, got ${String(value)}`);
    }
  }
}

/** Throws RangeError unless every named value is a whole number of at least `min`; NaN and Infinity are refused. */
export function requireInteger(min: number, values: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(values)) {
    if (!Number.isInteger(value) || value < min) {
      throw new RangeError(`${name} must be a whole number of at least ${String(min)}, got ${String(value)}`);
    }
  }
}

/**
 * Throws RangeError unless every named value is a delay that a timer can hold: at least `min`, at most 2^31-1 ms. A longer one
 * would fire at once.
 */
export function requireDelay(min: number, values: Readonly<Record<string, number>>): void {
  requireAtLeast(min, values);
  for (const [name, value] of Object.entries(values)) {
    if (value > MAX_DELAY_MS) {
      throw new RangeError(`${name} must be at most ${String(MAX_DELAY_MS)} ms (24 days), got ${String(value)}`);
    }
  }
}

/** Throws TypeError unless the named value is one of `allowed`. */
export function requireOneOf<T extends string>(name: string, value: T, allowed: readonly T[]): void {
  if (!allowed.includes(value)) {
    throw new TypeError(
      `${name} must be one of ${allowed.map((word) => `'${word}'`).join(', ')}, got ${String(value)}`,
    );
  }
}
