import { type Check, inMs } from './check.js';

/** A piece of an answer, as the socket gave it. */
export interface Arrival {
  /** From asking. */
  readonly atMs: number;
  readonly bytes: number;
  /** How many events end in it; undefined where they cannot be counted, since they are compressed. */
  readonly frames: number | undefined;
}

/** Pieces that come nearer to each other than that came together. */
const TOGETHER_MS = 5;
/** An answer of fewer frames shows nothing. */
const MIN_FRAMES = 4;
/** An answer that is over sooner was made too fast to tell. */
const MIN_TOTAL_MS = 150;
/** A burst lasts no longer, or than this part of the wait before it. */
const BURST_MS = 20;
const BURST_RATIO = 0.05;
/** What of an answer comes in one burst where it was collected: a few bytes often come before, such as the head of gzip. */
const BURST_SHARE = 0.9;
/** Frames that come together, and the silence between them, where something collects. */
const LUMP_FRAMES = 8;
const LUMP_GAP_MS = 300;

const BUFFERED_ADVICE =
  'Something between here and the model collects the answer. In nginx: proxy_buffering off, or the header X-Accel-Buffering: no from the ' +
  'application; no compression of text/event-stream (gzip, a compression middleware); CDNs and company proxies: an exception for ' +
  'this host, or NO_PROXY. Serverless platforms: a streaming response must be switched on';

/** Whether an answer came as it was made. How even its pieces came is told in any case. */
export function judgeArrivals(chunks: readonly Arrival[]): Omit<Check, 'of' | 'name'> {
  const [first] = chunks;
  const last = chunks.at(-1);
  if (first === undefined || last === undefined) {
    return { verdict: 'broken', says: 'the answer has no body', facts: { chunks: 0 } };
  }
  const gaps = chunks.slice(1).map(({ atMs }, index) => atMs - (chunks[index]?.atMs ?? atMs));
  const sorted = [...gaps].sort((a, b) => a - b);
  const [p50, p99, largest] = [quantile(sorted, 0.5), quantile(sorted, 0.99), sorted.at(-1) ?? 0];
  const frames = first.frames === undefined ? undefined : chunks.reduce((sum, chunk) => sum + (chunk.frames ?? 0), 0);
  const bursts = burstsOf(chunks);
  const facts = {
    chunks: chunks.length,
    frames,
    bytes: chunks.reduce((sum, { bytes }) => sum + bytes, 0),
    firstMs: whole(first.atMs),
    totalMs: whole(last.atMs),
    gaps: gaps.length,
    p50Ms: whole(p50),
    p99Ms: whole(p99),
    largestMs: whole(largest),
    bursts: bursts.length,
  };
  const held = frames === undefined ? '' : ` with ${counted(frames, 'frame')}`;
  const how =
    `${counted(chunks.length, 'chunk')}${held}, the first after ${inMs(first.atMs)}, the last after ${inMs(last.atMs)}; ` +
    `${counted(gaps.length, 'gap')}: p50 ${inMs(p50)}, p99 ${inMs(p99)}, the largest ${inMs(largest)}`;
  if (frames !== undefined && frames < MIN_FRAMES) {
    return { verdict: 'warning', says: `too short to tell whether something collects it: ${how}`, facts };
  }
  if (last.atMs < MIN_TOTAL_MS) {
    return { verdict: 'warning', says: `too fast to tell whether something collects it: ${how}`, facts };
  }
  if (
    bursts.some(
      ({ share, fromMs, toMs }) => share >= BURST_SHARE && toMs - fromMs <= Math.max(BURST_MS, fromMs * BURST_RATIO),
    )
  ) {
    return { verdict: 'broken', says: `buffered, all came in one burst: ${how}`, advice: BUFFERED_ADVICE, facts };
  }
  const silences = gaps.filter((gap) => gap >= TOGETHER_MS).sort((a, b) => a - b);
  if (frames !== undefined && frames / bursts.length >= LUMP_FRAMES && quantile(silences, 0.5) >= LUMP_GAP_MS) {
    const size = String(Math.round(frames / bursts.length));
    return {
      verdict: 'warning',
      says: `it comes in lumps of about ${size} frames: ${how}`,
      advice: BUFFERED_ADVICE,
      facts,
    };
  }
  return { verdict: 'ok', says: `nothing collects it: ${how}`, facts };
}

interface Burst {
  readonly fromMs: number;
  readonly toMs: number;
  /** What of all frames came in it; where they cannot be counted, of all bytes. */
  readonly share: number;
}

/** Pieces that came together. */
function burstsOf(chunks: readonly Arrival[]): readonly Burst[] {
  const weightOf = ({ frames, bytes }: Arrival): number => frames ?? bytes;
  const all = chunks.reduce((sum, chunk) => sum + weightOf(chunk), 0);
  const bursts: Burst[] = [];
  for (const chunk of chunks) {
    const before = bursts.at(-1);
    const share = weightOf(chunk) / all;
    if (before === undefined || chunk.atMs - before.toMs >= TOGETHER_MS) {
      bursts.push({ fromMs: chunk.atMs, toMs: chunk.atMs, share });
    } else {
      bursts[bursts.length - 1] = { fromMs: before.fromMs, toMs: chunk.atMs, share: before.share + share };
    }
  }
  return bursts;
}

/** By the nearest rank. */
function quantile(sorted: readonly number[], ratio: number): number {
  return sorted[Math.max(0, Math.ceil(sorted.length * ratio) - 1)] ?? 0;
}

function whole(ms: number): number {
  return Math.round(ms);
}

function counted(count: number, what: string): string {
  return `${String(count)} ${what}${count === 1 ? '' : 's'}`;
}
