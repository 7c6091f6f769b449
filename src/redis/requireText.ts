/** Throws TypeError for what is no text, or one that UTF-8 cannot hold: it would come back as another. */
export function requireText(name: string, value: unknown): void {
  if (typeof value !== 'string') throw new TypeError(`${name} must be a string, got ${typeof value}`);
  if (LONE_SURROGATE.test(value)) throw new TypeError(`${name} must be well-formed, but holds half a surrogate pair`);
}

/** Throws TypeError for what cannot name a stream. */
export function requireId(id: unknown): void {
  requireText('id', id);
  // Known by now.
  const text = id as string;
  if (text === '' || text.length > MAX_ID_CHARS) {
    throw new TypeError(`id must be 1 to ${String(MAX_ID_CHARS)} characters long, got ${String(text.length)}`);
  }
  if (/\p{Cc}/u.test(text)) throw new TypeError('id must not hold a control character');
}

const MAX_ID_CHARS = 256;

const LONE_SURROGATE = /\p{Surrogate}/u;
