import { isDeepStrictEqual } from 'node:util';
import { expect } from 'vitest';
import { ProtocolError, ValidationError } from '../../src/errors.js';
import type { Decoder, Dialect, Emit } from '../../src/protocol/dialect.js';
import type { StreamEvent, WireEvent } from '../../src/types.js';

/** What a decoder made of one thing that it was given. */
export interface Told {
  readonly events: readonly StreamEvent[];
  /** What it returned, or threw. */
  readonly out: unknown;
  readonly error: unknown;
  readonly place: unknown;
}

/** One step of a stream: an event of the wire, or what befalls a connection. */
export type Step = WireEvent | 'release' | 'reattached' | 'end' | 'cut';

function take(decoder: Decoder, step: Step, emit: Emit): unknown {
  switch (step) {
    case 'release':
      return decoder.release?.(emit);
    case 'reattached':
      return decoder.reattached?.();
    case 'end':
      return decoder.end(true, emit);
    case 'cut':
      return decoder.end(false, emit);
    default:
      return decoder.push(step, emit);
  }
}

export function tell(decoder: Decoder, step: Step): Told {
  const events: StreamEvent[] = [];
  let out: unknown;
  let error: unknown;
  try {
    out = take(decoder, step, (event) => {
      events.push(event);
    });
  } catch (thrown) {
    error = thrown;
  }
  return { events, out, error, place: decoder.place };
}

/** Whether a decoder can go on after it. */
function isMalformed(error: unknown): boolean {
  return error instanceof ProtocolError || error instanceof ValidationError;
}

/** As `toStrictEqual`, but for objects with a key `constructor`, which it takes for their class. */
export function expectSame(one: unknown, other: unknown, where: () => string): void {
  if (isDeepStrictEqual(one, other)) return;
  expect(one, where()).toStrictEqual(other);
  throw new Error(`Only isDeepStrictEqual tells the results apart: ${where()}`);
}

/**
 * Decodes a stream with templates and without, and fails at the first step where they tell different things: events, the order of
 * their keys left aside, what is returned, what is thrown with all that it holds, and the place.
 */
export function bothWays(
  dialect: Dialect,
  steps: readonly Step[],
): { readonly frames: number; readonly templated: number } {
  const fast = dialect.decoder();
  const full = dialect.decoder({ templates: false });
  let frames = 0;
  for (const [at, step] of steps.entries()) {
    const [one, other] = [tell(fast, step), tell(full, step)];
    expectSame(one, other, () => {
      const before = JSON.stringify(steps.slice(Math.max(0, at - 40), at + 1));
      return `step ${String(at)}, the last of ${before}`;
    });
    if (typeof step === 'object' && step.type !== 'comment') frames += 1;
    if (other.out === 'done' || (other.error !== undefined && !isMalformed(other.error))) break;
  }
  expect(full.templated ?? 0).toBe(0);
  return { frames, templated: fast.templated ?? 0 };
}

/** A frame as an event of the wire. */
export function frameOf(data: string, event = 'message'): WireEvent {
  return { type: 'event', event, data, id: '' };
}

export function framesOf(data: readonly string[], event?: string): readonly WireEvent[] {
  return data.map((each) => frameOf(each, event));
}
