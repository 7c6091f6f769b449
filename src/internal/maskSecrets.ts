import type { MonoTypeOperatorFunction } from 'rxjs';
import { link, operate } from './operate.js';

/** Shorter values are words, not keys. */
const MIN_SECRET_CHARS = 8;
const STAR = 0x2a;
const NOTHING = new Uint8Array();

/**
 * Writes stars over secrets in a stream of bytes, wherever the chunks are cut. Everything else passes as it came, and nothing
 * changes its length. Held is the end of a chunk where it may be the beginning of a secret, and never longer than one: no
 * secret has a line end, so that a whole event is never held.
 */
export function maskSecrets(secrets: readonly string[]): MonoTypeOperatorFunction<Uint8Array> {
  const patterns = secrets.flatMap(formsOf);
  return operate((source, subscriber) => {
    let held: Uint8Array = NOTHING;
    const flush = (): void => {
      const rest = held;
      held = NOTHING;
      if (rest.length > 0) subscriber.next(rest);
    };
    source.subscribe(
      link<Uint8Array>(subscriber, {
        next: (chunk) => {
          const bytes = mask(held.length === 0 ? chunk : concat(held, chunk), patterns);
          const end = bytes.length - begunAtEnd(bytes, patterns);
          held = end === bytes.length ? NOTHING : new Uint8Array(bytes.subarray(end));
          if (end > 0) subscriber.next(bytes.subarray(0, end));
        },
        error: (error) => {
          flush();
          subscriber.error(error);
        },
        complete: () => {
          flush();
          subscriber.complete();
        },
      }),
    );
  });
}

/** A secret as it may stand in a body: as it is, in JSON, in a URL. */
function formsOf(secret: string): readonly Uint8Array[] {
  if (secret.length < MIN_SECRET_CHARS) return [];
  const forms = new Set([secret, secret.replaceAll('/', '\\/'), encodeURIComponent(secret)]);
  return [...forms].map((form) => new TextEncoder().encode(form));
}

function concat(first: Uint8Array, second: Uint8Array): Uint8Array {
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}

/** A copy, where there is something to write over: the chunk may be somebody else's too. */
function mask(bytes: Uint8Array, patterns: readonly Uint8Array[]): Uint8Array {
  let clean = bytes;
  for (const pattern of patterns) {
    for (let at = find(clean, pattern, 0); at !== -1; at = find(clean, pattern, at + pattern.length)) {
      if (clean === bytes) clean = new Uint8Array(bytes); // `slice` of a Buffer copies nothing
      clean.fill(STAR, at, at + pattern.length);
    }
  }
  return clean;
}

function find(bytes: Uint8Array, pattern: Uint8Array, from: number): number {
  const [first = 0] = pattern;
  const last = bytes.length - pattern.length;
  for (let at = bytes.indexOf(first, from); at !== -1 && at <= last; at = bytes.indexOf(first, at + 1)) {
    if (startsAt(bytes, at, pattern, pattern.length)) return at;
  }
  return -1;
}

/** How many bytes at the end may be the beginning of a pattern. */
function begunAtEnd(bytes: Uint8Array, patterns: readonly Uint8Array[]): number {
  let longest = 0;
  for (const pattern of patterns) {
    for (let length = Math.min(pattern.length - 1, bytes.length); length > longest; length -= 1) {
      if (startsAt(bytes, bytes.length - length, pattern, length)) longest = length;
    }
  }
  return longest;
}

function startsAt(bytes: Uint8Array, at: number, pattern: Uint8Array, length: number): boolean {
  for (let i = 0; i < length; i += 1) if (bytes[at + i] !== pattern[i]) return false;
  return true;
}
