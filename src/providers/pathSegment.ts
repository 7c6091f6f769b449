import { ProtocolError } from '../errors.js';

/**
 * An id as one segment of a URL's path: no character of it can end the segment, begin a query or climb out of the path.
 * @throws TypeError where no encoding can make it one: it is empty, `.` or `..`, or not well-formed Unicode
 */
export function pathSegment(id: string, what: string): string {
  if (typeof id !== 'string' || id === '' || /^\.\.?$/.test(id)) {
    throw new TypeError(`${what} must be a non-empty string that is not '.' or '..', got ${JSON.stringify(id)}`);
  }
  try {
    return encodeURIComponent(id);
  } catch (cause) {
    throw new TypeError(`${what} must be well-formed Unicode`, { cause });
  }
}

/** The work's id as a server told it; throws ProtocolError where it told none that can stand in a URL. */
export function readId(id: unknown, what: string): string {
  try {
    if (typeof id === 'string' && pathSegment(id, what) !== '') return id;
  } catch {
    // Told below, like the absence of an id: to the caller it is one mistake of the server.
  }
  throw new ProtocolError(`${what} is missing or unusable in the server's answer, got ${typeof id}`);
}
