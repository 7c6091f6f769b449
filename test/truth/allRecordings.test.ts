import { createHash } from 'node:crypto';
import { concat, EMPTY, from, throwError } from 'rxjs';
import { afterAll, describe, expect, it } from 'vitest';
import { InterruptedError, ProviderError } from '../../src/errors.js';
import { decode } from '../../src/operators/decode.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import type { Dialect } from '../../src/protocol/dialect.js';
import type { StreamEvent, WireEvent } from '../../src/types.js';
import { wireEvents } from '../support/decodeEvents.js';
import { bodyOf, dialects, proofOf } from '../support/recordings.js';
import { type Recording, recordings } from '../support/shared.js';

const all = recordings();
/** Over this size one byte at a time is tried on the first and the last bytes only, and the middle comes in one piece. */
const MAX_SINGLE_BYTES = 24_000;
const EDGE_BYTES = 8_000;

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function dialectOf({ format }: Recording): Dialect {
  const dialect = dialects[format];
  if (dialect === undefined) throw new Error(`No dialect for ${format}`);
  return dialect;
}

/** The same numbers in every run. */
function randomOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state % below;
  };
}

interface Read {
  readonly events: readonly StreamEvent[];
  readonly end: unknown;
}

/** What a reader has of a body that comes in these pieces. */
function read(dialect: Dialect, pieces: readonly Uint8Array[], cut: 'end' | 'reset' = 'end'): Read {
  const events: StreamEvent[] = [];
  let end: unknown;
  const over = cut === 'end' ? EMPTY : throwError(() => new InterruptedError('reset'));
  concat(from(pieces), over)
    .pipe(parseSSE(), decode(dialect))
    .subscribe({
      next: (event) => events.push(event),
      error: (error: unknown) => (end = error),
      complete: () => (end = 'complete'),
    });
  return { events, end };
}

function piecesAt(bytes: Uint8Array, cuts: readonly number[]): readonly Uint8Array[] {
  const all = [0, ...[...cuts].sort((a, b) => a - b), bytes.length];
  return all.slice(1).map((end, index) => bytes.subarray(all[index], end));
}

function singleBytes(bytes: Uint8Array): readonly Uint8Array[] {
  const edge = bytes.length <= MAX_SINGLE_BYTES ? bytes.length : EDGE_BYTES;
  const single = (from: number, to: number): readonly Uint8Array[] =>
    Array.from({ length: to - from }, (_, index) => bytes.subarray(from + index, from + index + 1));
  if (edge === bytes.length) return single(0, bytes.length);
  return [...single(0, edge), bytes.subarray(edge, bytes.length - edge), ...single(bytes.length - edge, bytes.length)];
}

function join(events: readonly StreamEvent[], type: 'text' | 'thinking'): string {
  return events.map((event) => (event.type === type && event.alternative !== true ? event.text : '')).join('');
}

function factsOf({ events, end }: Read): object {
  const argumentsText = events.map((event) => (event.type === 'tool-call-delta' ? event.argumentsDelta : '')).join('');
  return {
    text: sha256(join(events, 'text')),
    thinking: sha256(join(events, 'thinking')),
    toolArguments: sha256(argumentsText),
    outcome: end === 'complete' ? 'complete' : end instanceof ProviderError ? 'failed' : end,
  };
}

function expectedOf({ text_sha256, reasoning_sha256, tool_args_sha256, outcome }: Recording): object {
  return {
    text: text_sha256,
    thinking: reasoning_sha256 ?? sha256(''),
    toolArguments: tool_args_sha256 ?? sha256(''),
    outcome,
  };
}

interface Accounts {
  decoded: number;
  raw: number;
  heartbeats: number;
  unseen: number;
}

/** What became of each event of the wire, and at which of them the answer was proven. */
function account(dialect: Dialect, wire: readonly WireEvent[]): Accounts & { readonly provenAt: number } {
  const accounts: Accounts = { decoded: 0, raw: 0, heartbeats: 0, unseen: 0 };
  const decoder = dialect.decoder();
  let proof = 'open';
  let provenAt = Infinity;
  for (const [index, event] of wire.entries()) {
    const seen = new Set<StreamEvent['type']>();
    const before = proof;
    let hasFailed = false;
    try {
      proof = decoder.push(event, ({ type }) => seen.add(type));
    } catch (error) {
      if (!(error instanceof ProviderError)) throw error;
      hasFailed = true;
    }
    if (proof === 'open') provenAt = Infinity;
    else if (before === 'open') provenAt = index;
    const isDecoded = hasFailed || proof !== before || [...seen].some((type) => type !== 'raw' && type !== 'heartbeat');
    if (isDecoded) accounts.decoded += 1;
    else if (seen.has('raw')) accounts.raw += 1;
    else if (seen.has('heartbeat')) accounts.heartbeats += 1;
    // What stands behind the end is nobody's, and a delay is for the transport.
    else if (before === 'done' || event.type === 'retry') accounts.decoded += 1;
    else accounts.unseen += 1;
    if (hasFailed) break;
  }
  return { ...accounts, provenAt };
}

/** Where each event of the wire ends, in bytes. */
function bordersOf(bytes: Uint8Array): readonly number[] {
  const text = Buffer.from(bytes).toString('latin1');
  return [...text.matchAll(/\r\n\r\n|\n\n/g)].map(({ 0: end, index }) => index + end.length);
}

const spliced = 'anthropic/spliced-message-start.jsonl';

describe.skipIf(all.length === 0)('every recorded stream', () => {
  const table: string[] = [];
  let cuts = 0;

  afterAll(() => {
    console.log(
      [
        `every recording: ${String(all.length)} streams; frames decoded, raw, heartbeats; frames and comments of the wire:`,
        ...table,
        `every recording, cut: ${String(cuts)} cuts, none told wrongly`,
      ].join('\n'),
    );
  });

  describe.each(all)('$file', (recording) => {
    const dialect = dialectOf(recording);
    const bytes = bodyOf(recording);
    const whole = read(dialect, [bytes]);
    const random = randomOf(recording.frames + bytes.length);

    it.skipIf(recording.file === spliced)('gives its text, its reasoning, its tool arguments and its outcome', () => {
      expect(factsOf(whole)).toStrictEqual(expectedOf(recording));
      expect(whole.events.filter(({ type }) => type === 'restart')).toStrictEqual([]);
    });

    it('gives the same events one byte at a time, and in 20 random cuttings', () => {
      const told = whole.events.map((event) => JSON.stringify(event)).join('\n');
      const same = (pieces: readonly Uint8Array[]): void => {
        const { events, end } = read(dialect, pieces);
        expect(events.map((event) => JSON.stringify(event)).join('\n') === told).toBe(true);
        expect(String(end)).toBe(String(whole.end));
      };
      same(singleBytes(bytes));
      for (let time = 0; time < 20; time += 1) {
        const count = 1 + random(Math.min(400, bytes.length));
        same(
          piecesAt(
            bytes,
            Array.from({ length: count }, () => random(bytes.length)),
          ),
        );
      }
    });

    it('accounts for every frame', () => {
      const wire = wireEvents('sse', bytes);
      const { decoded, raw, heartbeats, unseen } = account(dialect, wire);
      const comments = wire.filter(({ type }) => type === 'comment').length;
      table.push(
        `  ${recording.file.padEnd(46)} ${[decoded, raw, heartbeats, recording.frames, recording.comments].map((count) => String(count).padStart(5)).join(' ')}`,
      );
      expect(wire.filter(({ type }) => type === 'event')).toHaveLength(recording.frames);
      expect(comments).toBe(recording.comments);
      expect(heartbeats).toBeGreaterThanOrEqual(comments);
      if (recording.outcome === 'complete') {
        expect(unseen).toBe(0);
        expect(decoded + raw + heartbeats).toBe(recording.frames + comments);
      } else {
        // Lines of an error that stands between the frames are told together, by the failure, and nobody reads what follows one.
        expect(unseen).toBeLessThanOrEqual(wire.filter(({ type }) => type === 'unknown').length);
        expect(decoded + raw + heartbeats + unseen).toBe(provenFailure(dialect, wire, 'told') + 1);
      }
    });

    it('proves its answer in the frame that its format says, and tells no end before it', () => {
      const wire = wireEvents('sse', bytes);
      const { provenAt } = account(dialect, wire);
      expect(provenAt).toBe(proofOf(recording, wire));
      // At every event, however long the stream is: the body ends here, says HTTP.
      const decoder = dialect.decoder();
      const before = Math.min(provenAt, recording.outcome === 'failed' ? provenFailure(dialect, wire) : wire.length);
      const isWhole = wire.slice(0, before).map((event) => {
        decoder.push(event, () => undefined);
        return decoder.end(recording.format !== 'writer', () => undefined);
      });
      expect(isWhole.lastIndexOf(true)).toBe(-1);
    });

    const told =
      recording.format === 'writer'
        ? 'is interrupted wherever it is reset: that the body ends is its only proof'
        : 'is interrupted wherever it is cut before its proof, and as it is from there on';
    it(told, () => {
      const wire = wireEvents('sse', bytes);
      const borders = bordersOf(bytes);
      const { provenAt } = account(dialect, wire);
      const failsAt = recording.outcome === 'failed' ? provenFailure(dialect, wire) : Infinity;
      // Long streams: every border near the ends, and some of those between.
      const stride = Math.ceil(borders.length / 400);
      const chosen = borders.filter((_, index) => index < 50 || index > borders.length - 50 || index % stride === 0);
      const random200 = Array.from({ length: 200 }, () => random(bytes.length));
      for (const cut of [...chosen, ...random200]) {
        const prefix = bytes.subarray(0, cut);
        const count = wireEvents('sse', prefix).length;
        for (const how of ['end', 'reset'] as const) {
          // A format without any sign of its end has only the word of HTTP for it.
          if (how === 'end' && recording.format === 'writer') continue;
          cuts += 1;
          const { end, events } = read(dialect, [prefix], how);
          const where = `${how} after ${String(cut)} of ${String(bytes.length)} bytes`;
          if (count > failsAt) expect(end, where).toBeInstanceOf(ProviderError);
          else if (count > provenAt) expect(end, where).toBe('complete');
          else {
            expect(end, where).toBeInstanceOf(InterruptedError);
            expect(join(whole.events, 'text').startsWith(join(events, 'text')), where).toBe(true);
          }
        }
      }
    });
  });

  it('begins anew once where the provider did', () => {
    const recording = all.find(({ file }) => file === spliced);
    if (recording === undefined) return;
    const { events, end } = read(dialectOf(recording), [bodyOf(recording)]);
    const from = events.findIndex(({ type }) => type === 'restart');
    expect(end).toBe('complete');
    expect(events.filter(({ type }) => type === 'restart')).toHaveLength(1);
    const body = Buffer.from(bodyOf(recording)).toString();
    const second = body.slice(body.lastIndexOf('event: message_start'));
    const alone = read(dialectOf(recording), [Buffer.from(second)]);
    const said = ({ type }: StreamEvent): boolean =>
      type === 'text' || type === 'thinking' || type.startsWith('tool-call');
    expect(events.slice(from + 1).filter(said)).toStrictEqual(alone.events.filter(said));
  });
});

/** The event of the wire with which the provider's report comes: where it `begins`, or where it is `told`. */
function provenFailure(dialect: Dialect, wire: readonly WireEvent[], where: 'begins' | 'told' = 'begins'): number {
  // One that stands between the frames is read line by line; a stream that ends within it has failed, too.
  const spliced = wire.findIndex(({ type }) => type === 'unknown');
  if (spliced !== -1 && where === 'begins') return spliced;
  const decoder = dialect.decoder();
  return wire.findIndex((event) => {
    try {
      decoder.push(event, () => undefined);
      return false;
    } catch {
      return true;
    }
  });
}

it.runIf(all.length === 0)('finds no recordings beside the project, so real streams are not tried here', () => {
  expect(all).toHaveLength(0);
});

it('reads an empty body of every format as interrupted', () => {
  for (const dialect of Object.values(dialects)) {
    const { end } = read(dialect, [], 'reset');
    expect(end).toBeInstanceOf(InterruptedError);
  }
});
