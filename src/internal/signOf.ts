/**
 * What an item says of the stream that brought it: `content`, a piece of the answer; `state`, which moves the work only when it
 * differs from the state before; `life`, that the connection is there.
 */
export type Sign = 'content' | 'state' | 'life';

/** What the parsers give, and what of it is content. An event's data may be anything, so it counts. */
const WIRE: ReadonlyMap<string, Sign> = new Map([
  ['event', 'content'],
  ['line', 'content'],
  ['comment', 'life'],
  ['retry', 'life'],
  ['unknown', 'life'],
]);

/** The stream events that are not content. */
const NOT_CONTENT: ReadonlyMap<string, Sign> = new Map([
  ['status', 'state'],
  ['progress', 'state'],
  ['usage', 'life'],
  ['warning', 'life'],
  ['heartbeat', 'life'],
  ['finish', 'life'],
  ['restart', 'life'],
  ['raw', 'life'],
]);

/** What an item says by its type; a string, bytes and whatever has no type of ours is content. */
export function signOf(item: unknown): Sign {
  const type = typeOf(item);
  return type === undefined ? 'content' : (NOT_CONTENT.get(type) ?? WIRE.get(type) ?? 'content');
}

/** True for what a parser gives: a frame that nobody has decoded yet. */
export function isWireEvent(item: unknown): boolean {
  const type = typeOf(item);
  return type !== undefined && WIRE.has(type);
}

/** Its name for a message: `content`, or a type of ours; nothing of the item itself. */
export function nameOf(item: unknown): string {
  return signOf(item) === 'content' ? 'content' : (typeOf(item) ?? 'content');
}

function typeOf(item: unknown): string | undefined {
  if (typeof item !== 'object' || item === null || !('type' in item)) return undefined;
  return typeof item.type === 'string' ? item.type : undefined;
}
