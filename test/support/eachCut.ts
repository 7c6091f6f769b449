import type { Dialect } from '../../src/protocol/dialect.js';
import type { GoodStream } from '../fixtures/chat.js';
import { decodeAll } from './decodeAll.js';

/** The outcome of a stream that breaks off after each of its bytes, as ranges of offsets with the same outcome. */
export function outcomesOfCuts(dialect: Dialect, { pieces }: GoodStream): readonly string[] {
  const bytes = new TextEncoder().encode(pieces.join(''));
  const ranges: { outcome: string; from: number; to: number }[] = [];
  for (let size = 0; size <= bytes.length; size++) {
    const { outcome } = decodeAll(dialect, bytes.subarray(0, size));
    const last = ranges.at(-1);
    if (last?.outcome === outcome) last.to = size;
    else ranges.push({ outcome, from: size, to: size });
  }
  return ranges.map(({ outcome, from, to }) => `${outcome} ${String(from)}..${String(to)}`);
}

/** What `outcomesOfCuts` must give: interrupted before the proof, complete from there on. */
export function expectedOutcomes({ pieces, provenAt }: GoodStream): readonly string[] {
  const all = new TextEncoder().encode(pieces.join('')).length;
  return [`interrupted 0..${String(provenAt - 1)}`, `complete ${String(provenAt)}..${String(all)}`];
}
