import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import type { Exchange, ResponseHead } from '../exchange.js';
import type { Pace } from '../scriptedAnswer.js';
import type { Ending, Segment } from './segments.js';

/** An answer ready to go out. */
export interface Plan {
  /** `sent`: an earlier part of the answer has sent it. `never`: the fault comes before it. */
  readonly head: ResponseHead | 'sent' | 'never';
  readonly headersAfterMs?: number | undefined;
  readonly segments: readonly Segment[];
  readonly ending: Ending;
  readonly pace: Pace;
  readonly chunkBytes?: number | undefined;
  /** Work that can be cancelled from elsewhere: what is sent then, in place of the rest. */
  readonly interrupt?: { readonly signal: AbortSignal; readonly segments: readonly Segment[] } | undefined;
  /** Called with the number of segments that are out. */
  readonly onSent?: ((count: number) => void) | undefined;
}

/** Sends an answer. Its timers end with the connection, and it returns when the answer is over, whoever ended it. */
export async function play(exchange: Exchange, plan: Plan): Promise<void> {
  const { gone } = exchange;
  const { head, headersAfterMs = 0, ending, interrupt } = plan;
  const stop = interrupt === undefined ? gone : AbortSignal.any([gone, interrupt.signal]);
  if (headersAfterMs > 0) await pause(headersAfterMs, gone);
  if (typeof head !== 'string') exchange.respond(ending === 'close' ? { ...head, framing: 'close' } : head);
  await sendSegments(exchange, plan, stop);
  if (interrupt?.signal.aborted === true && !gone.aborted) {
    for (const { bytes } of interrupt.segments) await exchange.write(bytes);
    await exchange.end();
    return;
  }
  if (!gone.aborted) await ENDINGS[ending](exchange);
}

async function sendSegments(exchange: Exchange, plan: Plan, stop: AbortSignal): Promise<void> {
  const { segments, pace, chunkBytes = Infinity } = plan;
  const { perFrameMs, firstFrameMs = perFrameMs } = pace === 'full' ? { perFrameMs: 0 } : pace;
  for (const [index, { bytes, hold }] of segments.entries()) {
    if (hold !== undefined) await hold(stop);
    const delayMs = index === 0 ? firstFrameMs : perFrameMs;
    if (delayMs > 0) await pause(delayMs, stop);
    for (let from = 0; from < bytes.length; from += chunkBytes) {
      if (stop.aborted) return;
      // Waiting for each write is the back-pressure: a client that does not read holds its own answer back.
      await exchange.write(bytes.subarray(from, Math.min(bytes.length, from + chunkBytes)));
    }
    if (stop.aborted) return;
    plan.onSent?.(index + 1);
  }
}

const ENDINGS: Readonly<Record<Ending, (exchange: Exchange) => unknown>> = {
  end: (exchange) => exchange.end(),
  reset: async (exchange) => {
    // libuv reports a reset as a plain end to a reader that finds it together with bytes; a client in this process needs
    // one whole turn of the event loop to have read them before.
    await nextTurn();
    await nextTurn();
    exchange.reset();
  },
  fin: (exchange) => {
    exchange.halfClose();
  },
  close: (exchange) => {
    exchange.halfClose();
  },
  stall: (exchange) => exchange.ended,
  'bad-chunk': async (exchange) => {
    await exchange.raw('not a size\r\n');
    exchange.halfClose();
  },
};

/** Resolves after `ms`, or as soon as `signal` aborts. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(ms, undefined, { signal });
  } catch (error) {
    if (!signal.aborted) throw error; // Aborted: the caller looks at the signal itself.
  }
}
