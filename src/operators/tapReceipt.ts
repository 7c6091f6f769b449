import type { MonoTypeOperatorFunction } from 'rxjs';
import { type Ending, Evidence } from '../internal/evidence.js';
import { draw, operate } from '../internal/operate.js';
import type { Receipt, StreamEvent } from '../types.js';

/**
 * Tells once how a stream ended, whatever the ending: complete, failed, interrupted, or left by its subscriber.
 *
 * ```text
 * source    -a--b--|          a, b = tokens, events, or a sink's receipt
 * receipt          r
 * result    -a--b--|
 * ```
 * Below a sink it gives the sink's own receipt, also after an unsubscribe, which a sink does not emit. Elsewhere it makes a
 * receipt of what passes: `where` is `none`, `chars` is the text that passed, `bytes` is 0.
 * Emits what the source emits; completes and errors as the source does, after the callback. A callback that throws is an
 * error; after an unsubscribe its throw comes out of `unsubscribe()`. Holds nothing.
 *
 * @example
 * ```ts
 * fromCall(call).pipe(toTokens(), tapReceipt((receipt) => log(receipt.outcome, receipt.usage))).subscribe();
 * ```
 * @param onReceipt - called once per stream
 * @returns an operator
 * @public
 */
export function tapReceipt<T>(onReceipt: (receipt: Receipt) => void): MonoTypeOperatorFunction<T> {
  return operate((source, subscriber) => {
    const evidence = new Evidence('observer');
    let ending: Ending = { kind: 'left' };
    let chars = 0;
    const told: WeakSet<Receipt> = new WeakSet();
    const tell = (receipt: Receipt): void => {
      if (told.has(receipt)) return;
      told.add(receipt);
      onReceipt(receipt);
    };
    evidence.scope.onReceipt = tell;
    draw<T>(source, subscriber, evidence.scope, () => ({
      next: (value) => {
        if (typeof value === 'string') {
          evidence.note(value);
          chars += value.length;
        } else if (isReceipt(value)) {
          // A sink that was subscribed late could not be known before.
          evidence.scope.expectsReceipts = true;
          tell(value);
        } else if (isStreamEvent(value)) {
          evidence.note(value);
          if (value.type === 'text') chars += value.text.length;
        } else evidence.currentFlow();
        subscriber.next(value);
      },
      error: (error) => {
        evidence.currentFlow();
        ending = { kind: 'error', error };
      },
      complete: () => {
        evidence.currentFlow();
        ending = { kind: 'complete' };
      },
      left: () => {
        try {
          const receipt = ending.kind === 'error' ? receiptOf(ending.error) : undefined;
          if (receipt !== undefined) tell(receipt);
          else if (!evidence.scope.expectsReceipts) {
            tell(evidence.receipt(evidence.judge(ending), { where: 'none', chars, bytes: 0 }));
          }
        } catch (thrown) {
          if (subscriber.closed) throw thrown; // from `unsubscribe()`: nobody else can hear of it
          subscriber.error(thrown);
          return;
        }
        // After the receipt, so that a callback that throws is an error and not lost.
        if (ending.kind === 'error') subscriber.error(ending.error);
        else if (ending.kind === 'complete') subscriber.complete();
      },
    }));
  });
}

/** The receipt of the sink that failed. */
function receiptOf(error: unknown): Receipt | undefined {
  return error instanceof Error && 'receipt' in error && isReceipt(error.receipt) ? error.receipt : undefined;
}

function isStreamEvent(value: unknown): value is StreamEvent {
  return typeof value === 'object' && value !== null && typeof (value as { type?: unknown }).type === 'string';
}

function isReceipt(value: unknown): value is Receipt {
  return typeof value === 'object' && value !== null && 'outcome' in value && 'billing' in value;
}
