import { io } from '#io';
import type { Subscriber } from 'rxjs';
import type { Receipt } from '../types.js';
import { attachReceipt } from './attachReceipt.js';
import type { Evidence, Verdict } from './evidence.js';
import { hasCode } from './hasCode.js';

/** What a stream's ending is when its sink met an ending of its own: the first error counts, a second one is a warning. */
export function addFailure(verdict: Verdict, ofSink: Verdict): Verdict {
  if (!('error' in verdict)) return ofSink;
  if (ofSink.error instanceof Error) io.warn(ofSink.error.message);
  return verdict;
}

/** Tells the end of a stream: to a `tapReceipt` below, and to the sink's subscriber unless it has left. */
export function tellEnding(
  evidence: Evidence,
  subscriber: Subscriber<Receipt>,
  verdict: Verdict,
  receipt: Receipt,
): void {
  const hasLeft = subscriber.closed;
  try {
    evidence.report(receipt);
  } catch (error) {
    if (hasLeft) throw error; // nobody but the process can hear of a callback's throw
    subscriber.error(error);
    return;
  }
  if (hasLeft) {
    // Text that could not be kept must be seen all the same.
    if (hasCode(verdict.error, 'ERR_SINK')) io.warn(verdict.error.message);
  } else if ('error' in verdict) {
    subscriber.error(attachReceipt(verdict.error, receipt));
  } else {
    subscriber.next(receipt);
    subscriber.complete();
  }
}
