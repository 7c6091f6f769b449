/** Throws RangeError unless every named value is a number of at least `min`; NaN is refused. */
export function requireAtLeast(min: number, values: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(values)) {
    if (typeof value !== 'number' || !(value >= min)) {
      throw new RangeError(`${name} must be a number of at least ${String(min)}, got ${String(value)}`);
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
