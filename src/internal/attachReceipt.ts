import { isMillraceError } from '../errors.js';
import type { Receipt } from '../types.js';

/** Gives an error its sink's receipt; one that is not ours too, as long as it can take a property. */
export function attachReceipt(error: unknown, receipt: Receipt): unknown {
  if (isMillraceError(error)) error.receipt = receipt;
  else if (error instanceof Error && Object.isExtensible(error)) Object.assign(error, { receipt });
  return error;
}
