import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Arrival, judgeArrivals } from '../../../src/cli/doctor/judgeArrivals.js';

const at = (...times: readonly number[]): Arrival[] => times.map((atMs) => ({ atMs, bytes: 100, frames: 1 }));
const every = (ms: number, count: number, from: number): Arrival[] =>
  at(...Array.from({ length: count }, (_, index) => from + index * ms));
const holding = (frames: number | undefined, chunks: readonly Arrival[]): Arrival[] =>
  chunks.map((chunk) => ({ ...chunk, frames }));
/** As gzip without a flush: its head, and at the end the rest. */
const gzip: readonly Arrival[] = [
  { atMs: 300, bytes: 10, frames: undefined },
  { atMs: 2000, bytes: 900, frames: undefined },
];

describe('judgeArrivals', () => {
  it.each([
    { what: 'an even stream', chunks: every(40, 50, 300), verdict: 'ok' },
    { what: 'a fast one', chunks: every(2, 60, 200), verdict: 'ok' },
    { what: 'a fast one behind a long wait', chunks: every(3, 100, 3000), verdict: 'ok' },
    { what: 'one of four frames a chunk', chunks: holding(4, every(80, 20, 300)), verdict: 'ok' },
    { what: 'a compressed one', chunks: holding(undefined, every(40, 50, 300)), verdict: 'ok' },
    {
      what: 'one with a large picture at its end',
      chunks: [...every(40, 9, 300), { atMs: 900, bytes: 1e6, frames: 1 }],
      verdict: 'ok',
    },
    { what: 'all at once after a wait', chunks: holding(50, at(2000)), verdict: 'broken' },
    { what: 'all at once, in the pieces of sockets', chunks: holding(9, every(1, 12, 2000)), verdict: 'broken' },
    { what: 'a first frame, and then all at once', chunks: [...at(300), ...holding(50, at(2000))], verdict: 'broken' },
    { what: 'all at once, compressed', chunks: gzip, verdict: 'broken' },
    { what: 'lumps', chunks: holding(20, every(800, 4, 900)), verdict: 'warning' },
    { what: 'too few frames', chunks: holding(2, at(700)), verdict: 'warning' },
    { what: 'too short a time', chunks: holding(50, at(30)), verdict: 'warning' },
    { what: 'nothing', chunks: [], verdict: 'broken' },
  ])('finds $verdict: $what', ({ chunks, verdict }) => {
    expect(judgeArrivals(chunks).verdict).toBe(verdict);
  });

  it('tells how even the gaps are', () => {
    const { says, facts } = judgeArrivals(at(100, 110, 130, 160, 1160));
    expect(facts).toEqual({
      chunks: 5,
      frames: 5,
      bytes: 500,
      firstMs: 100,
      totalMs: 1160,
      gaps: 4,
      p50Ms: 20,
      p99Ms: 1000,
      largestMs: 1000,
      bursts: 5,
    });
    expect(says).toBe(
      'nothing collects it: 5 chunks with 5 frames, the first after 100 ms, the last after 1.2 s; 4 gaps: p50 20 ms, p99 1.0 s, the largest 1.0 s',
    );
  });

  it('gives advice where something collects, and nowhere else', () => {
    expect(judgeArrivals(holding(50, at(2000))).advice).toMatch(/proxy_buffering off.*X-Accel-Buffering: no/);
    expect(judgeArrivals(every(40, 50, 300)).advice).toBeUndefined();
  });

  it('has an answer for whatever comes', () => {
    const times = fc.array(fc.nat(100_000)).map((all) => at(...all.sort((a, b) => a - b)));
    fc.assert(
      fc.property(times, fc.option(fc.nat(1000), { nil: undefined }), (chunks, frames) => {
        const { verdict, says, facts } = judgeArrivals(holding(frames, chunks));
        expect(['ok', 'warning', 'broken']).toContain(verdict);
        expect(says).not.toMatch(/NaN|Infinity|undefined/);
        expect(facts?.['chunks']).toBe(chunks.length);
      }),
    );
  });
});
