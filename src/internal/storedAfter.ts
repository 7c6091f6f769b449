const places = new WeakMap<object, string>();

/** Notes what the reading of a stored stream begins behind: a position of the store, or an id under which a reader was told an event. */
export function noteAfter(call: object, after: string): void {
  places.set(call, after);
}

/** What that is; undefined for a stream that is read from its beginning, or not from a store. */
export function afterOf(call: object | undefined): string | undefined {
  return call === undefined ? undefined : places.get(call);
}
