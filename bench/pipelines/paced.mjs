// Many streams at a steady pace: what a token costs, and how much later than it was sent it is there.
import process from 'node:process';
import { performance } from 'node:perf_hooks';
import { micros } from '../clock.mjs';
import { pacedBytes, STAMP_AT, STAMP_CHARS, STAMPED_BYTES } from '../paced.mjs';

/** So many tokens of each stream, faster than measured, are enough for the compiler to see everything. */
const WARM_UP_TOKENS = 50;
const WARM_UP_INTERVAL_MICROS = 4_000;

let runs = 0;

export async function prepare({ client, streams, tokens: measuredTokens, intervalMicros: measuredInterval, port }) {
  const { ask, seesBytes = false } = await import(`../clients/${client}.mjs`);

  const run = async (tokens, intervalMicros) => {
    const total = streams * tokens;
    const latencies = new Float64Array(total);
    let stamped = 0;
    let received = 0;
    let chars = 0;
    let startedAt;
    let before;
    let took;
    const arrived = (stamp) => {
      if (stamped === 0) {
        startedAt = performance.now();
        before = process.cpuUsage();
      }
      latencies[stamped] = micros() - stamp;
      stamped += 1;
      if (stamped === total) {
        const { user, system } = process.cpuUsage(before);
        took = { cpu: user + system, wall: (performance.now() - startedAt) * 1000 };
      }
    };
    const onText = (text) => {
      received += 1;
      chars += text.length;
      arrived(Number(text));
    };
    const onBytes = (chunk) => {
      received += chunk.length;
      // Each frame is a chunk of HTTP, so a chunk of this length is one, unless its packet was cut.
      if (chunk.length === STAMPED_BYTES) arrived(Number(chunk.latin1Slice(STAMP_AT, STAMP_AT + STAMP_CHARS)));
    };
    runs += 1;
    const url = `http://127.0.0.1:${port}/${client}-${process.pid}-${runs}/${streams}/${tokens}/${intervalMicros}`;
    await Promise.all(Array.from({ length: streams }, () => ask(url, 'chat', seesBytes ? onBytes : onText)));
    if (took === undefined) throw new Error(`only ${stamped} of ${total} tokens came in one piece`);
    const sorted = latencies.toSorted();
    const quantile = (share) => sorted[Math.floor((total - 1) * share)] / 1000;
    const counted = seesBytes ? { bytes: received } : { tokens: received, chars };
    return { counted, took, values: { p50: quantile(0.5), p99: quantile(0.99), pace: (tokens * 1e6) / took.wall } };
  };
  await run(WARM_UP_TOKENS, WARM_UP_INTERVAL_MICROS);
  const total = streams * measuredTokens;
  return {
    expected: seesBytes
      ? { bytes: streams * pacedBytes(measuredTokens) }
      : { tokens: total, chars: total * STAMP_CHARS },
    amounts: { tokens: total },
    run: () => run(measuredTokens, measuredInterval),
  };
}
