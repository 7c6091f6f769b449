import { VirtualTimeScheduler } from 'rxjs';
import { gzipSync, constants } from 'node:zlib';
import type { Call } from '../../src/protocol/call.js';
import {
  baseURLsAt,
  type Case,
  chunk,
  contentTypeOf,
  type Expected,
  type FaultRow,
  head,
  LAST_CHUNK,
  layoutOf,
  type Point,
  points,
  within,
} from './faultPlay.js';
import { turns, type Wire } from './faultServer.js';
import { type Variant, variants } from './variants.js';

/** How the answer's body is sent and its end told. */
type Framing = 'chunked' | 'length' | 'close';

const FRAMINGS: Readonly<Record<Framing, string>> = {
  chunked: 'chunked',
  length: 'with a length',
  close: 'until the connection closes',
};

/** What a place in an answer means for the outcome. */
export interface Place {
  readonly variant: Variant;
  readonly point: Point;
  /** Bytes of the body that are sent before; none where the fault comes before the headers. */
  readonly bytes: number | undefined;
  readonly isProven: boolean;
  /** Proven, and nothing more is awaited. */
  readonly isOver: boolean;
}

/** A call of the variant's that is never made. */
export function callOf(variant: Variant): Call {
  return variant.ask(baseURLsAt('http://127.0.0.1:1'));
}

function placesOf(variant: Variant): readonly Place[] {
  const { at, proven } = layoutOf(variant);
  return points.flatMap((point) => {
    const bytes = at.get(point);
    if (bytes === undefined && point !== 'before the headers') return [];
    return [{ variant, point, bytes, isProven: (bytes ?? 0) >= proven, isOver: within(variant, bytes ?? 0).isOver }];
  });
}

export function everywhere(
  toCase: (place: Place) => Omit<Case, 'variant' | 'point'> | undefined,
): () => readonly Case[] {
  return () =>
    variants.flatMap((variant) =>
      placesOf(variant).flatMap((place) => {
        const each = toCase(place);
        return each === undefined ? [] : [{ variant, point: place.point, ...each }];
      }),
    );
}

function headersOf(variant: Variant, framing: Framing, extra: readonly string[] = []): string {
  const lines = { chunked: 'transfer-encoding: chunked', close: 'connection: close', length: '' }[framing];
  const length = `content-length: ${String(layoutOf(variant).body.length)}`;
  return head([`content-type: ${contentTypeOf(variant)}`, framing === 'length' ? length : lines, ...extra]);
}

/** Sends an answer up to a place, and waits until the client has all of it. */
async function sendUntil(wire: Wire, { variant, bytes }: Place, framing: Framing, rest = ''): Promise<void> {
  if (bytes === undefined) {
    await wire.settle();
    return;
  }
  const body = layoutOf(variant).body.subarray(0, bytes);
  await wire.send(headersOf(variant, framing));
  await wire.send(framing === 'chunked' ? chunk(body) : body);
  if (rest !== '') await wire.send(rest);
  await wire.settle();
}

/** The answer is lost here: nothing before the proof is an answer, and behind it nothing is taken away. */
function lost({ bytes, isProven }: Place): Expected {
  if (isProven) return { end: 'complete', connection: 'closed' };
  const of = bytes === undefined ? 'headers' : 'body';
  return { end: 'ERR_INTERRUPTED', of, isRetryable: true, bytes, connection: 'closed' };
}

/** The server breaks the rules here: that is told as long as anything is read. */
function broken(place: Place): Expected {
  if (place.isOver) return lost(place);
  return { end: 'ERR_PROTOCOL', isRetryable: false, bytes: place.bytes, connection: 'closed' };
}

const framings = Object.keys(FRAMINGS) as readonly Framing[]; // the keys of a literal

const cuts: readonly FaultRow[] = framings.flatMap((framing) =>
  (['reset', 'fin'] as const).map((kind) => ({
    fault: `${kind === 'reset' ? 'reset' : 'half-close (FIN)'}, body ${FRAMINGS[framing]}`,
    cases: everywhere((place) => {
      // With all of its length there it is over before anything can happen to it.
      const isOver = framing === 'length' && place.point === 'after the end';
      if (isOver || (place.bytes === undefined && framing !== 'chunked')) return undefined;
      return {
        play: async (wire) => {
          await sendUntil(wire, place, framing);
          wire[kind]();
        },
        expected: lost(place),
      };
    }),
  })),
);

const broke: readonly FaultRow[] = [
  {
    fault: 'FIN inside a chunk',
    cases: everywhere((place) => {
      if (place.bytes === undefined) return undefined;
      const body = layoutOf(place.variant).body.subarray(0, place.bytes);
      return {
        play: async (wire) => {
          await wire.send(headersOf(place.variant, 'chunked'));
          await wire.send(`${(body.length + 1000).toString(16)}\r\n`);
          await wire.send(body);
          await wire.settle();
          wire.fin();
        },
        expected: lost(place),
      };
    }),
  },
  ...(['1f', '\r', '0\r\n\r'] as const).map((rest): FaultRow => ({
    fault: { '1f': 'FIN inside a chunk size', '\r': 'FIN between CR and LF', '0\r\n\r': 'FIN inside the last chunk' }[
      rest
    ],
    cases: everywhere((place) => {
      // A CR without a chunk before it is a size that is none.
      if (place.bytes === undefined || (rest === '\r' && place.bytes === 0)) return undefined;
      return {
        play: async (wire) => {
          await wire.send(headersOf(place.variant, 'chunked'));
          const sent = chunk(layoutOf(place.variant).body.subarray(0, place.bytes));
          await wire.send(rest === '\r' ? Buffer.concat([sent.subarray(0, -1)]) : sent);
          if (rest !== '\r') await wire.send(rest);
          await wire.settle();
          wire.fin();
        },
        expected: lost(place),
      };
    }),
  })),
  {
    fault: 'a chunk size that is none',
    cases: everywhere((place) =>
      place.bytes === undefined
        ? undefined
        : {
            play: async (wire) => {
              await sendUntil(wire, place, 'chunked', 'not a size\r\n');
            },
            expected: broken(place),
          },
    ),
  },
  {
    fault: 'a status line that is none',
    cases: everywhere((place) =>
      place.bytes === undefined
        ? { play: (wire) => wire.send('SSH-2.0-OpenSSH_9.6\r\n'), expected: broken(place) }
        : undefined,
    ),
  },
  {
    fault: 'content-length is short, the connection stays open',
    cases: everywhere((place) => {
      const { variant, bytes } = place;
      // The rest is behind the end of this answer, and no answer to anything.
      const { body } = layoutOf(variant);
      if (bytes === undefined || bytes === body.length) return undefined;
      const type = `content-type: ${contentTypeOf(variant)}`;
      return {
        play: (wire) => wire.send(Buffer.concat([Buffer.from(head([type, `content-length: ${String(bytes)}`])), body])),
        expected: lost(place),
      };
    }),
  },
  {
    fault: 'content-length is long, then FIN',
    cases: everywhere((place) => {
      const { variant, bytes } = place;
      if (bytes === undefined) return undefined;
      const { body } = layoutOf(variant);
      const type = `content-type: ${contentTypeOf(variant)}`;
      return {
        play: async (wire) => {
          await wire.send(head([type, `content-length: ${String(body.length + 1000)}`]));
          await wire.send(body.subarray(0, bytes));
          await wire.settle();
          wire.fin();
        },
        expected: lost(place),
      };
    }),
  },
  ...[
    ['two lengths that contradict each other', 'content-length: 5', 'content-length: 6'],
    ['a length and chunks', 'content-length: 5', 'transfer-encoding: chunked'],
    ['a length that is no number', 'content-length: many', ''],
    ['a negative length', 'content-length: -5', ''],
  ].map(([fault = '', ...lines]): FaultRow => ({
    fault,
    cases: everywhere((place) =>
      place.bytes === undefined
        ? {
            play: async (wire) => {
              const type = `content-type: ${contentTypeOf(place.variant)}`;
              await wire.send(head([type, ...lines.filter((line) => line !== '')]));
              await wire.send(layoutOf(place.variant).body);
            },
            expected: broken(place),
          }
        : undefined,
    ),
  })),
];

/** gzip of these bytes with all of them to be had, and no end. */
export function openGzip(bytes: Uint8Array): Uint8Array {
  return gzipSync(bytes, { finishFlush: constants.Z_SYNC_FLUSH });
}

const GZIP = ['content-encoding: gzip'];

const coded: readonly FaultRow[] = [
  {
    fault: 'gzip is cut, the end of HTTP is clean',
    cases: everywhere((place) => {
      const { variant, bytes } = place;
      if (bytes === undefined) return undefined;
      const body = openGzip(layoutOf(variant).body.subarray(0, bytes));
      return {
        play: async (wire) => {
          await wire.send(headersOf(variant, 'chunked', GZIP));
          await wire.send(chunk(body));
          await wire.settle();
          await wire.send(LAST_CHUNK);
        },
        expected: { ...lost(place), connection: 'kept' },
      };
    }),
  },
  {
    fault: 'gzip is corrupt, once the client has what came before',
    cases: everywhere((place) => {
      const { variant, bytes } = place;
      if (bytes === undefined) return undefined;
      const body = openGzip(layoutOf(variant).body.subarray(0, bytes));
      return {
        play: async (wire) => {
          await wire.send(headersOf(variant, 'chunked', GZIP));
          await wire.send(chunk(body));
          await wire.settle();
          await wire.send(chunk(Buffer.alloc(64, 0xff)));
        },
        expected: broken(place),
      };
    }),
  },
  {
    fault: 'gzip is corrupt, in one piece with what came before',
    cases: everywhere((place) => {
      const { variant, bytes } = place;
      if (bytes === undefined) return undefined;
      const body = openGzip(layoutOf(variant).body.subarray(0, bytes));
      return {
        play: async (wire) => {
          await wire.send(headersOf(variant, 'chunked', GZIP));
          await wire.send(chunk(Buffer.concat([body, Buffer.alloc(64, 0xff)])));
        },
        // zlib gives nothing of a piece in which it finds a fault.
        expected: { ...broken({ ...place, isOver: false }), bytes: undefined },
      };
    }),
  },
];

/** Virtual time goes on: so far, or until no timer is left. */
export function pass(scheduler: VirtualTimeScheduler, ms = Infinity): void {
  if (ms !== Infinity) scheduler.schedule(() => undefined, ms); // time stands still where nothing is due
  scheduler.maxFrames = scheduler.frame + ms;
  scheduler.flush();
}

const LIMITS = { headersMs: 1_000, wireIdleMs: 1_000 };

const silences: readonly FaultRow[] = [
  {
    fault: 'silence without FIN, with `timeout`',
    cases: everywhere((place) => {
      const scheduler = new VirtualTimeScheduler();
      // Where the work was created by a request of its own, that one's headers were the first sign of life.
      const isFirst = place.bytes === undefined && callOf(place.variant).submit === undefined;
      const of = isFirst ? 'headers' : 'wireIdle';
      return {
        scheduler,
        options: { timeout: LIMITS },
        play: async (wire) => {
          await sendUntil(wire, place, 'chunked');
          pass(scheduler);
        },
        // Behind the proof there is nothing left to wait for.
        expected: place.isProven ? lost(place) : { ...lost(place), end: 'ERR_STREAM_TIMEOUT', of },
      };
    }),
  },
  {
    fault: 'silence without FIN, with the client’s own limits',
    cases: everywhere((place) => {
      const isHeaders = place.bytes === undefined;
      return {
        options: isHeaders ? { headersTimeoutMs: 50 } : { bodyTimeoutMs: 50 },
        play: (wire) => sendUntil(wire, place, 'chunked'),
        expected: place.isProven
          ? lost(place)
          : {
              ...lost(place),
              end: 'ERR_STREAM_TIMEOUT',
              of: isHeaders ? 'headers' : 'wireIdle',
              bytes: undefined, // real time: it may be over before all came
              says: [isHeaders ? 'headersTimeoutMs' : 'bodyTimeoutMs', '50 ms', '0 lifts it'],
            },
      };
    }),
  },
  {
    fault: 'silence up to the limit, then it goes on',
    cases: everywhere((place) => {
      const scheduler = new VirtualTimeScheduler();
      const { body } = layoutOf(place.variant);
      return {
        scheduler,
        options: { timeout: LIMITS },
        play: async (wire) => {
          await sendUntil(wire, place, 'chunked');
          pass(scheduler, place.isProven ? 99 : 999); // behind the proof the rest is read for 100 ms
          await turns();
          if (place.bytes === undefined) await wire.send(headersOf(place.variant, 'chunked'));
          await wire.send(chunk(body.subarray(place.bytes ?? 0)));
          await wire.send(LAST_CHUNK);
        },
        expected: { end: 'complete', connection: 'kept' },
      };
    }),
  },
];

const slow: readonly FaultRow[] = [
  {
    fault: 'one byte at a time, headers too',
    cases: () =>
      variants.map((variant) => ({
        variant,
        // Behind the proof the rest is read for 100 ms, which a busy machine may need for it: here they do not pass.
        scheduler: new VirtualTimeScheduler(),
        play: async (wire) => {
          for (const byte of Buffer.from(headersOf(variant, 'chunked'))) await wire.send(Buffer.of(byte));
          const { body } = layoutOf(variant);
          for (let i = 0; i < body.length; i += 1) {
            // Each in a chunk of its own, so that the client gets them one by one however the packets are cut.
            const sent = wire.send(chunk(body.subarray(i, i + 1)));
            if (i % 32 === 0) await sent;
          }
          await wire.send(LAST_CHUNK);
        },
        expected: { end: 'complete', connection: 'kept' },
      })),
  },
];

/** Everything that can happen to a connection, at each place of an answer. */
export const faultsOfConnections: readonly FaultRow[] = [...cuts, ...broke, ...coded, ...silences, ...slow];
