import * as fc from 'fast-check';
import { from, lastValueFrom, toArray } from 'rxjs';
import { expect } from 'vitest';
import { ProtocolError, ValidationError } from '../../src/errors.js';
import { decode } from '../../src/operators/decode.js';
import { parseNDJSON } from '../../src/operators/parseNDJSON.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import type { Decoder, Dialect, Emit } from '../../src/protocol/dialect.js';
import { checkTemplates } from '../../src/testing/index.js';
import type { StreamEvent, WireEvent } from '../../src/types.js';
import { mutate, pick, type Random, randomOf, someText } from './mutatedFrames.js';

/** An event of the wire, what befalls its connection, or what is told beside its stream. */
export type Step =
  WireEvent | 'release' | 'reattached' | { readonly submitted: unknown } | { readonly stored: unknown };

/** Writes one frame: its data, and what else the event has. */
export type Writer = (random: Random, text: string, count: number) => WrittenFrame;
export interface WrittenFrame {
  readonly data: unknown;
  readonly event?: string;
  readonly id?: string;
}

export interface Stories {
  readonly writers: readonly Writer[];
  /** What comes in between, seldom. */
  readonly asides?: readonly Step[];
  /** How an answer ends: what was noted on the way shows there. */
  readonly ends: readonly WrittenFrame[];
  /** @defaultValue `'sse'` */
  readonly framing?: 'sse' | 'ndjson';
  /** Frames of one story, at most. @defaultValue 60 */
  readonly length?: number;
}

/** Frames of a few servers that are like one another, now and then changed, all in the same place for a while. */
function storyOf(seed: number, { writers, asides = [], ends, framing = 'sse', length = 60 }: Stories): readonly Step[] {
  const random = randomOf(seed);
  const steps: Step[] = [];
  let writer = pick(random, writers);
  let mutation: number | undefined;
  let event: string | undefined;
  for (let count = 0; count < length; count++) {
    if (random(6) === 0) writer = pick(random, writers);
    if (random(6) === 0) mutation = random(3) === 0 ? random(1e9) : undefined;
    if (random(20) === 0)
      event = random(4) === 0 ? pick(random, ['message', 'error', 'delta', 'token', 'x']) : undefined;
    if (asides.length > 0 && random(24) === 0) steps.push(pick(random, asides));
    const { data, ...more } = writer(random, someText(random), count);
    const plain = JSON.stringify(data);
    const changed = mutation === undefined ? plain : mutate(plain, mutation, count);
    steps.push(wireEvent(framing, changed, event === undefined ? more : { ...more, event }));
  }
  const { data, ...more } = pick(random, ends);
  return [...steps, wireEvent(framing, typeof data === 'string' ? data : JSON.stringify(data), more)];
}

function wireEvent(
  framing: 'sse' | 'ndjson',
  data: string,
  { event = 'message', id = '' }: Partial<WrittenFrame>,
): WireEvent {
  return framing === 'ndjson' ? { type: 'line', data, number: 1 } : { type: 'event', event, data, id };
}

function take(decoder: Decoder, step: Step, emit: Emit): unknown {
  if (step === 'release') return decoder.release?.(emit);
  if (step === 'reattached') return decoder.reattached?.();
  if ('submitted' in step) {
    decoder.submitted(step.submitted, emit);
    return undefined;
  }
  if ('stored' in step) return decoder.stored?.(step.stored, emit);
  return decoder.push(step, emit);
}

/** What became of frames that were decoded with templates and without; where the two differ it throws. */
export interface Played {
  readonly events: readonly StreamEvent[];
  readonly frames: number;
  readonly templated: number;
}

export function play(dialect: Dialect, steps: readonly Step[]): Played {
  const decoder = checkTemplates(dialect).decoder();
  const events: StreamEvent[] = [];
  let frames = 0;
  for (const step of steps) {
    if (typeof step === 'object' && 'type' in step && step.type !== 'comment') frames += 1;
    try {
      const proof = take(decoder, step, (event) => {
        events.push(event);
      });
      if (proof === 'done') break;
    } catch (error) {
      if (error instanceof Error && error.name === 'TemplateDifference') {
        throw new Error(`After ${JSON.stringify(steps.slice(0, steps.indexOf(step) + 1))}`, { cause: error });
      }
      // After these two a reader may go on with the next frame.
      if (!(error instanceof ProtocolError || error instanceof ValidationError)) break;
    }
  }
  decoder.end(true, (event) => {
    events.push(event);
  });
  return { events, frames, templated: decoder.templated ?? 0 };
}

/** A body read as a stream is, in one piece or cut by chance, and decoded with templates and without. */
export async function playBody(
  dialect: Dialect,
  body: Uint8Array,
  cutBy?: number,
): Promise<{ readonly templated: number; readonly text: string }> {
  const decoder = checkTemplates(dialect).decoder();
  const parse = dialect.framing === 'sse' ? parseSSE() : parseNDJSON();
  const read = from(chunksOf(body, cutBy)).pipe(parse, decode({ ...dialect, decoder: () => decoder }), toArray());
  const events = await lastValueFrom(read);
  const text = events.map((event) => (event.type === 'text' ? event.text : '')).join('');
  return { templated: decoder.templated ?? 0, text };
}

function chunksOf(body: Uint8Array, cutBy: number | undefined): readonly Uint8Array[] {
  if (cutBy === undefined) return [body];
  const random = randomOf(cutBy);
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < body.length;) {
    const size = 1 + random(pick(random, [3, 100, 3000]));
    chunks.push(body.slice(at, at + size));
    at += size;
  }
  return chunks;
}

/** Any story is told alike with templates and without; at least so many of a hundred of their frames take one. */
export function expectAlike(dialect: Dialect, stories: Stories, atLeastPercent: number, numRuns = 60): void {
  let frames = 0;
  let templated = 0;
  fc.assert(
    fc.property(fc.nat(), (seed) => {
      const played = play(dialect, storyOf(seed, stories));
      frames += played.frames;
      templated += played.templated;
    }),
    { numRuns },
  );
  expect((100 * templated) / frames).toBeGreaterThan(atLeastPercent);
}

/** How many of the frames took a template, as text: `8 of 10`. */
export function shareOf(dialect: Dialect, steps: readonly Step[]): string {
  const { frames, templated } = play(dialect, steps);
  return `${String(templated)} of ${String(frames)}`;
}
