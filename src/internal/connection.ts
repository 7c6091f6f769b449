import type { Call } from '../protocol/call.js';

/** Where a provider asks and as whom: what somebody who asks in its place must know. */
export interface Connection {
  /** The provider's name. */
  readonly provider: string;
  readonly baseURL: string;
  /** Sent with every request; names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** How one attempt gets its credentials; throws TypeError where a key is missing. */
  readonly authorize: () => Call['authorize'];
}

// A global symbol: adapters may come from another copy of the package. The number is the layout's version.
const KEY: unique symbol = Symbol.for('millrace.connection.1') as never; // unique by its name

interface Connected {
  readonly [KEY]?: () => Connection;
}

/** Notes the connection on what asks through it; a function, so that no printing shows what is in it. */
export function withConnection<T extends object>(value: T, connection: Connection): T {
  return Object.defineProperty(value, KEY, { value: () => connection });
}

/** The connection of a provider, of one of an adapter's functions, or of the first of an adapter's functions that has one. */
export function connectionOf(value: object): Connection | undefined {
  const own = (value as Connected)[KEY];
  if (own !== undefined) return own();
  const calls: readonly unknown[] = Object.values(value);
  return calls
    .filter((member) => typeof member === 'function')
    .map((member) => (member as Connected)[KEY])
    .find((known) => known !== undefined)?.();
}
