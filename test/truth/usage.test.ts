import fc from 'fast-check';
import { type MonoTypeOperatorFunction, type Observable, Subject, take, VirtualTimeScheduler } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { InterruptedError } from '../../src/errors.js';
import { decode } from '../../src/operators/decode.js';
import { parseNDJSON } from '../../src/operators/parseNDJSON.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import { stopOn } from '../../src/operators/stopOn.js';
import { tapReceipt } from '../../src/operators/tapReceipt.js';
import { timeout } from '../../src/operators/timeout.js';
import type { Receipt, StreamEvent, Usage, UsageEvent, WireEvent } from '../../src/types.js';
import { bytesOf } from '../support/chunks.js';
import { type Variant, variants } from '../support/variants.js';

const urls = new Proxy({} as Parameters<Variant['ask']>[0], { get: () => 'http://127.0.0.1:1/v1' });
const COUNTS = ['inputTokens', 'outputTokens', 'totalTokens', 'reasoningTokens', 'cachedTokens', 'cost'] as const;

/** What happens to a stream after some of its frames. */
interface Ending {
  readonly name: string;
  /** Stands below `decode`. */
  readonly pipe?: (world: World) => MonoTypeOperatorFunction<StreamEvent>;
  readonly end: (world: World) => void;
}

/** What an ending can be brought about by. */
interface World {
  readonly bytes: Subject<Uint8Array>;
  readonly notifier: Subject<void>;
  readonly controller: AbortController;
  readonly scheduler: VirtualTimeScheduler;
  leave: () => void;
}

const bodyEnds: Ending = {
  name: 'the body ends',
  end: ({ bytes }) => {
    bytes.complete();
  },
};

const endings: readonly Ending[] = [
  bodyEnds,
  {
    name: 'the connection is lost',
    end: ({ bytes }) => {
      bytes.error(new InterruptedError('reset'));
    },
  },
  {
    name: 'something else fails',
    end: ({ bytes }) => {
      bytes.error(new Error('of another kind'));
    },
  },
  {
    name: 'what comes is malformed',
    end: ({ bytes }) => {
      bytes.next(bytesOf('\n\ndata: {"oops\n\n{"oops\n'));
      bytes.complete();
    },
  },
  {
    name: 'the reader leaves',
    end: ({ leave }) => {
      leave();
    },
  },
  {
    name: 'a notifier stops it',
    pipe: ({ notifier }) => stopOn<StreamEvent>(notifier),
    end: ({ notifier }) => {
      notifier.next();
    },
  },
  {
    name: 'a signal stops it',
    pipe: ({ controller }) => stopOn<StreamEvent>(controller.signal),
    end: ({ controller }) => {
      controller.abort();
    },
  },
  {
    name: 'time runs out',
    pipe: ({ scheduler }) => timeout<StreamEvent>({ attemptMs: 10, scheduler }),
    end: ({ scheduler }) => {
      scheduler.flush();
    },
  },
  {
    name: 'an operator takes no more',
    pipe: () => take(3),
    end: ({ leave }) => {
      leave();
    },
  },
];

interface Told {
  readonly receipt: Receipt;
  /** The last that the stream said of its usage. */
  readonly said: UsageEvent | undefined;
  readonly usages: readonly UsageEvent[];
}

function play(variant: Variant, frames: number, ending: Ending, cutChars = 0): Told {
  const world: World = {
    bytes: new Subject(),
    notifier: new Subject(),
    controller: new AbortController(),
    scheduler: new VirtualTimeScheduler(),
    leave: () => undefined,
  };
  const receipts: Receipt[] = [];
  const usages: UsageEvent[] = [];
  const wire: Observable<WireEvent> =
    variant.framing === 'sse' ? world.bytes.pipe(parseSSE()) : world.bytes.pipe(parseNDJSON());
  const events = wire.pipe(decode(variant.ask(urls).dialect));
  const told = (ending.pipe === undefined ? events : events.pipe(ending.pipe(world))).pipe(
    tapReceipt((receipt) => receipts.push(receipt)),
  );
  const subscription = told.subscribe({
    next: (event) => {
      if (event.type === 'usage') usages.push(event);
    },
    error: () => undefined, // the receipt has it
  });
  world.leave = (): void => {
    subscription.unsubscribe();
  };
  for (const frame of variant.stream.frames.slice(0, frames)) world.bytes.next(bytesOf(frame));
  const cut = variant.stream.frames[frames]?.slice(0, cutChars) ?? '';
  if (cut !== '') world.bytes.next(bytesOf(cut));
  ending.end(world);
  // Whatever kept it open: a stream that is told of once is over.
  subscription.unsubscribe();
  const [receipt, ...others] = receipts;
  if (receipt === undefined || others.length > 0) throw new Error(`${String(receipts.length)} receipts, not one`);
  return { receipt, said: usages.at(-1), usages };
}

/** The rule: what was said, whole only where the answer is; unknown is no number. */
function check({ receipt, said, usages }: Told): Usage['provenance'] {
  const { usage, outcome } = receipt;
  for (const event of usages) expect(event.provenance).not.toBe('unknown');
  if (said === undefined) {
    expect(usage).toStrictEqual({ provenance: 'unknown' });
  } else {
    const { type: _, provenance, ...counts } = said;
    expect(usage).toStrictEqual({
      ...counts,
      provenance: outcome === 'complete' ? provenance : 'partial',
    });
    // Counts that nobody told are not there: not as zero, and not as `undefined`.
    for (const name of COUNTS) if (name in usage) expect(said[name]).toBeDefined();
    expect(COUNTS.some((name) => name in usage)).toBe(true);
  }
  return usage.provenance;
}

describe.each(variants)('usage of $name', (variant) => {
  const { frames } = variant.stream;

  it.each(endings)('is what was said, wherever it ends: $name', (ending) => {
    for (let count = 0; count <= frames.length; count += 1) check(play(variant, count, ending));
  });

  it('is reported of a whole answer, and of no other', () => {
    const provenances = endings.map((ending) => [check(play(variant, 0, ending)), ending.name]);
    expect(provenances).toStrictEqual(endings.map(({ name }) => ['unknown', name]));
    const whole = play(variant, frames.length, bodyEnds);
    expect(whole.receipt.outcome).toBe('complete');
    // Jobs of Infernet tell no usage in their stream.
    const tells = frames.some((frame) => /usage|token|eval_count/i.test(frame));
    expect(check(whole)).toBe(tells && whole.said !== undefined ? 'reported' : 'unknown');
  });

  it('is never made up, cut inside any frame by any ending', () => {
    fc.assert(
      fc.property(fc.nat(frames.length), fc.nat(400), fc.constantFrom(...endings), (count, chars, ending) => {
        check(play(variant, count, ending, chars));
      }),
      { numRuns: 60 },
    );
  });
});

it('is told by most of them', () => {
  const told = variants.filter((variant) => play(variant, variant.stream.frames.length, bodyEnds).said);
  expect(told.length).toBeGreaterThan(10);
});
