import { hasCode } from './hasCode.js';

/** What the disk says when no file of a folder can be written any more. */
const DISK_IS_BROKEN: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT', 'EROFS', 'EIO']);

/** Whether whatever is written next would fail as well. */
export function isDiskBroken(error: unknown): boolean {
  return hasCode(error, 'ERR_SINK') && DISK_IS_BROKEN.has(error.context['code']);
}
