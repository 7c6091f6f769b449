import * as fc from 'fast-check';
import { from, lastValueFrom, mergeMap, toArray } from 'rxjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { InterruptedError } from '../../src/errors.js';
import { collect } from '../../src/sinks/collect.js';
import { type Fault, type ProviderServer, startProviderServer } from '../../src/testing/index.js';
import { bytesOf } from '../support/chunks.js';
import { type Variant, variants } from '../support/variants.js';

const KINDS = ['reset', 'fin', 'close'] as const;
const RANDOM_OFFSETS = 50;

/** Every frame border, and as many random places. */
function placesOf({ stream }: Variant): number[] {
  const length = bytesOf(stream.frames.join('')).length;
  let at = 0;
  const borders = stream.frames.map((frame) => (at += bytesOf(frame).length));
  const random = fc.sample(fc.integer({ min: 0, max: length }), { numRuns: RANDOM_OFFSETS, seed: length });
  return [...new Set([0, ...borders, ...random])];
}

describe('a good stream that is cut on a real socket', () => {
  let server: ProviderServer;
  let cuts = 0;
  const faults: Map<string, { readonly variant: Variant; readonly fault: Fault }> = new Map();

  beforeAll(async () => {
    server = await startProviderServer({
      script: ({ headers }) => {
        const ordered = faults.get(String(headers['x-cut']));
        return ordered && { frames: ordered.variant.stream.frames, fault: ordered.fault };
      },
    });
  });
  afterAll(async () => {
    await server.close();
    console.log(`every cut, on sockets: ${String(cuts)} cuts in all`);
  });

  it.each(variants)('is interrupted before its proven end and complete from there on: $name', async (variant) => {
    const { frames, provenFrame } = variant.stream;
    const proven = bytesOf(frames.slice(0, provenFrame + 1).join('')).length;
    const cases = placesOf(variant).flatMap((byte) => KINDS.map((kind) => ({ kind, byte })));
    const tried = from(cases).pipe(
      mergeMap(async ({ kind, byte }) => {
        const name = `${variant.name} ${kind} ${String(byte)}`;
        const key = encodeURIComponent(name);
        faults.set(key, { variant, fault: { kind, at: { byte } } });
        const end = await collect(variant.ask(server.baseURLs, { 'x-cut': key })).catch((error: unknown) => error);
        // Under `close` HTTP calls the body whole, so a last line of JSON needs no line end. A CR ends a line by itself.
        const isEarly =
          variant.framing === 'ndjson' ? kind === 'close' : frames[provenFrame]?.endsWith('\r\n') === true;
        const provenAt = isEarly ? proven - 1 : proven;
        if (byte < provenAt) {
          expect(end, name).toBeInstanceOf(InterruptedError);
          const { received, receipt } = end as InterruptedError;
          expect(variant.text.startsWith(received?.text ?? 'nothing'), name).toBe(true);
          expect(receipt?.outcome, name).toBe('interrupted');
        } else {
          expect(end, name).toMatchObject({ text: variant.text, receipt: { outcome: 'complete' } });
        }
      }, 8),
      toArray(),
    );
    cuts += (await lastValueFrom(tried)).length;
    console.log(`every cut, on sockets: ${variant.name}: ${String(cases.length)} cuts, none told wrongly`);
  });
});
