import process from 'node:process';
import * as fc from 'fast-check';
import { from, lastValueFrom, mergeMap, Subscription, toArray } from 'rxjs';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { fromCall } from '../../src/sources/fromCall.js';
import { type Fault, type ProviderServer, startProviderServer } from '../../src/testing/index.js';
import { bytesOf } from '../support/chunks.js';
import { type Variant, variants } from '../support/variants.js';

/** `npm run soak` asks for more. */
const CYCLES = Number(process.env['MILLRACE_SOAK_CYCLES'] ?? 300);

type Ending = 'complete' | 'error' | 'left';

interface Cycle {
  readonly variant: Variant;
  readonly fault: Fault | undefined;
  /** After how many events the reader leaves; 0: at once. Infinity: never, but where the stream stalls. */
  readonly leaveAfter: number;
}

const cycle: fc.Arbitrary<Cycle> = fc.constantFrom(...variants).chain((variant) => {
  const length = bytesOf(variant.stream.frames.join('')).length;
  const place = fc.oneof(
    fc.record({ byte: fc.integer({ min: 0, max: length }) }),
    fc.constantFrom<'before-headers' | 'after-headers' | 'end'>('before-headers', 'after-headers', 'end'),
  );
  const fault = fc.record({ kind: fc.constantFrom<'reset' | 'fin' | 'stall'>('reset', 'fin', 'stall'), at: place });
  return fc.record({
    variant: fc.constant(variant),
    fault: fc.option(fault, { nil: undefined, freq: 2 }),
    leaveAfter: fc.option(fc.integer({ min: 0, max: variant.stream.frames.length }), { nil: Infinity, freq: 2 }),
  });
});

let server: ProviderServer;
const faults = new Map<string, Cycle>();
const warnings: string[] = [];
const note = (warning: unknown): void => {
  warnings.push(String(warning));
};

beforeAll(async () => {
  process.on('warning', note);
  process.on('unhandledRejection', note);
  server = await startProviderServer({
    script: ({ headers }) => {
      const ordered = faults.get(String(headers['x-cycle']));
      return ordered && { frames: ordered.variant.stream.frames, fault: ordered.fault };
    },
  });
});
afterAll(async () => {
  await server.close();
  process.off('warning', note);
  process.off('unhandledRejection', note);
});

/** Subscribes, leaves at the given moment, and says how it ended; anything heard after leaving is a failure. */
function live({ variant, leaveAfter, fault }: Cycle, name: string): Promise<Ending> {
  return new Promise((resolve, reject) => {
    let heard = 0;
    let hasLeft = false;
    let isOver = false;
    const subscription = new Subscription();
    const leave = (): void => {
      hasLeft = true;
      subscription.unsubscribe();
      resolve('left');
    };
    const hear = (end?: Ending) => (): void => {
      if (hasLeft) reject(new Error(`${name}: heard ${end ?? 'an event'} after leaving`));
      else if (end !== undefined) {
        isOver = true;
        resolve(end);
      } else if ((heard += 1) === leaveAfter) leave();
    };
    const call = variant.ask(server.baseURLs, { 'x-cycle': name });
    const source = fromCall(call, { onCancelError: () => undefined });
    subscription.add(source.subscribe({ next: hear(), error: hear('error'), complete: hear('complete') }));
    if (leaveAfter === 0) leave();
    // A stalled stream would never tell: its reader leaves when nothing more can come.
    else if (fault?.kind === 'stall') setImmediate(waitForSilence);
    function waitForSilence(): void {
      const before = heard;
      setTimeout(() => {
        if (hasLeft || isOver) return;
        if (heard === before) leave();
        else waitForSilence();
      }, 50);
    }
  });
}

it(`leaves nothing behind after ${String(CYCLES)} streams with random faults, left at random moments`, async () => {
  const timersBefore = activeTimers();
  const cycles = fc.sample(cycle, { numRuns: CYCLES, seed: 1 });
  const endings = await lastValueFrom(
    from(cycles).pipe(
      mergeMap((each, index) => {
        const name = String(index);
        faults.set(name, each);
        return live(each, name);
      }, 16),
      toArray(),
    ),
  );
  await vi.waitFor(
    () => {
      // undici keeps idle connections for a while; more than it needs at once would be a leak.
      expect(server.connections()).toBeLessThanOrEqual(2 * 16);
      expect(activeTimers() - timersBefore).toBeLessThanOrEqual(2);
    },
    { timeout: 10_000 },
  );
  expect(warnings).toEqual([]);
  const count = (end: Ending): string => `${String(endings.filter((each) => each === end).length)} ${end}`;
  console.log(
    `soak: ${String(CYCLES)} streams: ${count('complete')}, ${count('error')}, ${count('left')}; ` +
      `${String(server.connections())} connections left open`,
  );
  expect(endings).toHaveLength(CYCLES);
}, 600_000);

function activeTimers(): number {
  return process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
}
