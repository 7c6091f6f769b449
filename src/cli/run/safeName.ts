import { createHash } from 'node:crypto';

/**
 * Bytes of a name. File systems take 255; the names beside a file while it is written (`.partial.owner.` and up to 32 digits) need
 * room too.
 */
export const MAX_NAME_BYTES = 200;

// What no name has on Windows, what moves a cursor or turns the direction of text, and what is no character.
const FORBIDDEN = '<>:"/\\\\|?*\\p{Cc}\\p{Cs}\\p{Zl}\\p{Zp}\\p{Bidi_Control}\\p{Noncharacter_Code_Point}\\ufeff';
const FORBIDDEN_ONE = new RegExp(`[${FORBIDDEN}]`, 'u');
const FORBIDDEN_RUN = new RegExp(`[${FORBIDDEN}]+`, 'gu');
/** Names of devices on Windows, whatever ending follows them. */
const RESERVED = /^(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])$/i;

const HASH_DIGITS = 12;

/** Where in a name a value stands. */
export interface NamePlace {
  readonly isFirst: boolean;
  readonly isLast: boolean;
}

/** Whether a text can be a part of a file's name on every system. */
export function isSafeText(text: string): boolean {
  return !FORBIDDEN_ONE.test(text);
}

/** What keeps a text, all of whose characters are safe, from being a name on every system; `undefined` where nothing does. */
export function nameProblem(name: string): string | undefined {
  if (name === '') return 'a folder or the file has no name';
  if (name === '.' || name === '..') return `it must not hold ${name} as a folder`;
  if (/[. ]$/.test(name) || name.startsWith(' '))
    return 'a name begins with a blank, or ends with a blank or a dot, which Windows drops';
  if (isReserved(name)) return 'a name is one that Windows reserves for a device';
  if (bytesOf(name) > MAX_NAME_BYTES) return `a name has more than ${String(MAX_NAME_BYTES)} bytes`;
  return undefined;
}

/**
 * A value as a part of a file's name, on every system. One that cannot stand as it is loses what is in the way and gets a hash of what it was, so that no
 * two values become one.
 */
export function safeName(value: string, { isFirst, isLast }: NamePlace, maxBytes: number = MAX_NAME_BYTES): string {
  const isClean =
    value !== '' &&
    value !== '~' && // a home, to a shell
    isSafeText(value) &&
    !(isFirst && (/^[. ]/.test(value) || isReserved(value))) &&
    !(isLast && /[. ]$/.test(value)) &&
    bytesOf(value) <= maxBytes;
  if (isClean) return value;
  // Two bytes a unit: half of a surrogate pair has no UTF-8, and would be any other's.
  const hash = createHash('sha256').update(Buffer.from(value, 'utf16le')).digest('hex').slice(0, HASH_DIGITS);
  const rest = value.replace(FORBIDDEN_RUN, '-').replace(/^[-. ]+|[-. ]+$/g, '');
  const named = isReserved(rest) ? `_${rest}` : rest;
  const kept = cut(named, maxBytes - HASH_DIGITS - 1).replace(/[-. ]+$/, '');
  return kept === '' ? hash : `${kept}-${hash}`;
}

/** Makes room: how many bytes each value may have, so that all fit; the long ones give way first. */
export function shares(sizes: readonly number[], room: number): readonly number[] {
  const result: number[] = sizes.map(() => 0);
  let left = room;
  const order = [...sizes.keys()].sort((a, b) => (sizes[a] ?? 0) - (sizes[b] ?? 0) || a - b);
  for (const [done, at] of order.entries()) {
    const share = Math.min(sizes[at] ?? 0, Math.floor(left / (order.length - done)));
    result[at] = share;
    left -= share;
  }
  return result;
}

/** The least that a value is cut to: a hash, and something to know it by. */
export const MIN_SHARE_BYTES = 20;

export function bytesOf(text: string): number {
  return Buffer.byteLength(text);
}

function isReserved(name: string): boolean {
  return RESERVED.test((name.split('.', 1)[0] ?? '').trimEnd());
}

/** The beginning of a text that has so many bytes. */
function cut(text: string, maxBytes: number): string {
  if (bytesOf(text) <= maxBytes) return text;
  let [end, bytes] = [0, 0];
  for (const character of text) {
    bytes += bytesOf(character);
    if (bytes > maxBytes) break;
    end += character.length;
  }
  return text.slice(0, end);
}
