/** `util.inspect.custom`, without Node. */
const INSPECT: unique symbol = Symbol.for('nodejs.util.inspect.custom');

/**
 * Gives an object another form wherever it is printed or turned into JSON, since logs are full of things that were printed by
 * the way. Its own members stay as they are, and neither form is copied with them.
 */
export function printedAs<T extends object>(value: T, form: () => object): T {
  for (const name of [INSPECT, 'toJSON']) Object.defineProperty(value, name, { value: form, configurable: true });
  return value;
}
