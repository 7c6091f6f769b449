import { createGzip, constants, type Gzip } from 'node:zlib';
import type { Fault, FaultPlace } from '../scriptedAnswer.js';

/** What goes out in one go, and what is waited for before it does. */
export interface Segment {
  readonly bytes: Uint8Array;
  readonly hold?: ((gone: AbortSignal) => Promise<void>) | undefined;
}

/** How an answer stops: properly, or by one of the faults that cut it. */
export type Ending = 'end' | 'reset' | 'fin' | 'close' | 'stall' | 'bad-chunk';

/** The parts of a dialect that faults put into a stream. */
export interface FaultWords {
  readonly garbage: string;
  readonly error: readonly string[];
}

/** A fault that is a place in the body and something that happens there. */
export type PlacedFault = Extract<Fault, { at: unknown }>;

/** Puts in what a fault says rather than cuts: malformed frames, failures in the provider's words. */
export function insertFault(segments: readonly Segment[], fault: PlacedFault, words: FaultWords): readonly Segment[] {
  switch (fault.kind) {
    case 'garbage': {
      const [before, after] = splitAt(segments, fault.at);
      return [...before, ...segmentsOf([words.garbage]), ...after];
    }
    case 'in-band-error':
      return [...splitAt(segments, fault.at)[0], ...segmentsOf(words.error)];
    default:
      return segments;
  }
}

/** What is left of the body when it ends at a place. */
export function cutAt(segments: readonly Segment[], at: PlacedFault['at']): readonly Segment[] {
  return splitAt(segments, at)[0];
}

/** Holds the body back at a place. */
export function holdAt(
  segments: readonly Segment[],
  at: FaultPlace,
  hold: (gone: AbortSignal) => Promise<void>,
): readonly Segment[] {
  const [before, [first = { bytes: new Uint8Array() }, ...rest]] = splitAt(segments, at);
  const both = async (gone: AbortSignal): Promise<void> => {
    await first.hold?.(gone);
    await hold(gone);
  };
  return [...before, { ...first, hold: both }, ...rest];
}

/** Each text as one segment. */
export function segmentsOf(frames: readonly string[]): readonly Segment[] {
  return frames.map((frame) => ({ bytes: Buffer.from(frame) }));
}

/** The frames of a recorded body: what is between blank lines, or lines, their ends included. */
export function segmentsOfRecording(body: Uint8Array, contentType: string): readonly Segment[] {
  const frame = contentType.includes('event-stream') ? /[^]*?(?:\r\n\r\n|\n\n|\r\r)|[^]+$/g : /[^\n]*\n|[^\n]+$/g;
  const text = Buffer.from(body).toString('latin1'); // one character for each byte, so that nothing changes
  return (text.match(frame) ?? []).map((part) => ({ bytes: Buffer.from(part, 'latin1') }));
}

/** The same segments compressed as one gzip body, each of them readable as soon as it has arrived. */
export async function gzipSegments(segments: readonly Segment[]): Promise<readonly Segment[]> {
  const gzip = createGzip();
  const compressed: Segment[] = [];
  for (const segment of segments) {
    gzip.write(segment.bytes);
    await new Promise<void>((resolve) => {
      gzip.flush(constants.Z_SYNC_FLUSH, resolve);
    });
    compressed.push({ ...segment, bytes: drain(gzip) });
  }
  const ended = new Promise((resolve) => gzip.once('end', resolve));
  gzip.end();
  const rest: Buffer[] = [];
  gzip.on('data', (chunk: Buffer) => rest.push(chunk));
  await ended;
  return [...compressed, { bytes: Buffer.concat(rest) }];
}

function drain(gzip: Gzip): Buffer {
  const chunks: Buffer[] = [];
  for (let chunk: unknown = gzip.read(); Buffer.isBuffer(chunk); chunk = gzip.read()) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function splitAt(
  segments: readonly Segment[],
  at: FaultPlace | 'before-headers',
): readonly [readonly Segment[], readonly Segment[]] {
  if (at === 'before-headers' || at === 'after-headers') return [[], segments];
  if (at === 'end') return [segments, []];
  if ('frame' in at) {
    const count = at.frame < 0 ? Math.max(0, segments.length + at.frame) : at.frame;
    return [segments.slice(0, count), segments.slice(count)];
  }
  let left = at.byte;
  const index = segments.findIndex(({ bytes }) => {
    if (bytes.length > left) return true;
    left -= bytes.length;
    return false;
  });
  const cut = segments[index];
  if (cut === undefined) return [segments, []];
  const before = segments.slice(0, index);
  const after = segments.slice(index + 1);
  if (left === 0) return [before, [cut, ...after]];
  return [
    [...before, { ...cut, bytes: cut.bytes.subarray(0, left) }],
    [{ bytes: cut.bytes.subarray(left) }, ...after],
  ];
}
