import type { StoredEntry, StoredPage, StoredState } from '../protocol/streamStore.js';

/** An entry as it came from Redis. */
export interface Row {
  readonly entry: StoredEntry;
  /** The stream is closed behind it. */
  readonly isLast: boolean;
}

/** An entry as Redis tells of it: its id, and names and values in turn. */
export type RawRow = readonly [id: string, fields: readonly string[]];

const POSITION = /^[1-9][0-9]{0,15}-[1-9][0-9]{0,15}$/;

/** Whether this may be a position that this store gave. */
export function isPosition(text: string): boolean {
  return POSITION.test(text);
}

/** How many entries there were up to a position. */
export function seqOf(position: string): number {
  return Number.parseInt(position, 10) || 0;
}

export function toRow([position, fields]: RawRow): Row {
  const values = new Map<string, string>();
  for (let at = 0; at + 1 < fields.length; at += 2) values.set(fields[at] ?? '', fields[at + 1] ?? '');
  const [, token = ''] = position.split('-');
  const previous = values.get('p') ?? `${String(seqOf(position) - 1)}-${token}`;
  return { entry: { position, previous, data: values.get('d') ?? '' }, isLast: values.has('c') };
}

/** The rows that come one after the other behind a position; none where the first does not. */
export function chained(rows: readonly Row[], after: string): readonly Row[] {
  let last = after;
  const end = rows.findIndex(({ entry }) => {
    const isNext = entry.previous === last;
    last = entry.position;
    return !isNext;
  });
  return end === -1 ? rows : rows.slice(0, end);
}

export function pageOf(rows: readonly Row[], state: StoredState): StoredPage {
  return { entries: rows.map(({ entry }) => entry), state };
}
