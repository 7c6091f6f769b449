import { isMillraceError, type MillraceError } from '../errors.js';

/** True for an error of this library with this code. By code and not by class: another copy of the package has its own classes. */
export function hasCode(error: unknown, code: string): error is MillraceError {
  return isMillraceError(error) && error.code === code;
}

/** True for an ending that came from the world: after the proof it takes nothing away. */
export function isCut(error: unknown): boolean {
  return hasCode(error, 'ERR_INTERRUPTED') || hasCode(error, 'ERR_STREAM_TIMEOUT');
}
