/**
 * Checks a name for a file that comes from outside, such as an output that a job names: a path below some folder, on every
 * system. It is text alone; where it leads on a disk only the disk knows.
 * @param what - names it in the message
 * @param absolute - `'allow'` for paths from a root too, where whoever gives the name may choose the place
 * @throws TypeError for a name that is empty, ends in no file name, has a `..` in it or a character that no name should have,
 *   or begins at a root
 */
export function requireFileName(
  what: string,
  name: unknown,
  absolute: 'allow' | 'refuse' = 'refuse',
): asserts name is string {
  const refuse = (because: string): never => {
    throw new TypeError(`${what} must be the name of a file: ${because}, got ${JSON.stringify(name)}`);
  };
  if (typeof name !== 'string') refuse('a text');
  // Both separators: a name that is harmless here may be read elsewhere.
  const parts = String(name).split(/[/\\]/);
  const last = parts.at(-1) ?? '';
  if (name === '') refuse('not an empty one');
  // eslint-disable-next-line no-control-regex -- these are what is looked for
  if (/[\0-\x1f\x7f]/.test(String(name))) refuse('without control characters');
  if (parts.includes('..')) refuse("without '..'");
  if (last === '' || last === '.') refuse('not of a folder');
  if (absolute === 'refuse' && isRooted(parts)) refuse('not from a root');
}

/** `/a`, `\a`, `\\server\a`, `C:\a`, and `C:a`, which begins where that drive happens to be. */
function isRooted([first = '']: readonly string[]): boolean {
  return first === '' || /^[A-Za-z]:/.test(first);
}

/** Throws TypeError for a path that is empty or holds a NUL, which would end it early for the system. */
export function requirePath(what: string, path: unknown): asserts path is string {
  if (typeof path !== 'string' || path === '') throw new TypeError(`${what} must be a path, got ${String(path)}`);
  if (path.includes('\0')) throw new TypeError(`${what} must not hold a NUL, got ${JSON.stringify(path)}`);
}
