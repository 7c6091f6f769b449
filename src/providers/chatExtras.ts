/**
 * What a record holds beside the keys that are read, as text to compare and to keep; empty where there is nothing. Frames
 * without such keys, most of them, cost no more than a walk over their keys.
 */
export function extrasOf(record: object, known: ReadonlySet<string>): string {
  let extras: unknown[] | undefined;
  for (const [key, value] of Object.entries(record)) {
    if (known.has(key) || isBlank(value)) continue;
    (extras ??= []).push(key, value);
  }
  return extras === undefined ? '' : JSON.stringify(extras);
}

/** Whether a record holds more than the keys that are known. */
export function hasOthers(record: Readonly<Record<string, unknown>>, known: ReadonlySet<string>): boolean {
  return Object.entries(record).some(([key, value]) => !known.has(key) && !isBlank(value));
}

/** What a record holds beside the keys that are known, as it is. */
export function othersOf(
  record: Readonly<Record<string, unknown>>,
  known: ReadonlySet<string>,
): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(record).filter(([key, value]) => !known.has(key) && !isBlank(value)));
}

/** True for what says nothing: null, an empty text, list or object, and an object whose values all say nothing. */
export function isBlank(value: unknown): boolean {
  if (value === undefined || value === null || value === '') return true;
  if (typeof value !== 'object') return false;
  return Array.isArray(value) ? value.length === 0 : Object.values(value).every((item) => item === null || item === '');
}
