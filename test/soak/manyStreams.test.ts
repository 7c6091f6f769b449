import { execFileSync } from 'node:child_process';
import process from 'node:process';
import { lastValueFrom, tap } from 'rxjs';
import { Agent } from 'undici';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openai } from '../../src/providers/index.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { type Child, startChild } from '../support/soakChild.js';
import { type Order, soakServer, type SoakReady, type SoakState } from '../support/soakServer.js';

/** `npm run soak` asks for a minute. */
const SECONDS = Number(process.env['MILLRACE_SOAK_SECONDS'] ?? 2);
const STREAMS = process.env['MILLRACE_SOAK_SECONDS'] === undefined ? 200 : 2_000;
const EVERY_MS = 100;
const EVENTS = (SECONDS * 1_000) / EVERY_MS;

let server: Child<SoakReady, SoakState>;
beforeAll(async () => {
  server = await startChild(soakServer);
});
afterAll(() => server.close());

/** Times from sending to hearing, in milliseconds, and what they cost. */
class Latencies {
  count = 0;
  readonly #all: Float64Array;
  readonly #begun = performance.now();
  readonly #cpu = process.cpuUsage();

  constructor(capacity: number) {
    this.#all = new Float64Array(capacity);
  }

  /** @param sentAt - by the clock of `soakServer` */
  hear(sentAt: string): void {
    this.#all[this.count] = Number(process.hrtime.bigint()) / 1e6 - Number(sentAt);
    this.count += 1;
  }

  toString(): string {
    const { user, system } = process.cpuUsage(this.#cpu);
    const cpu = (user + system) / 1_000 / (performance.now() - this.#begun);
    const sorted = this.#all.slice(0, this.count).sort();
    const at = (ratio: number): string => (sorted[Math.ceil(ratio * this.count) - 1] ?? NaN).toFixed(2);
    return (
      `half within ${at(0.5)} ms, 99 % within ${at(0.99)} ms, 99.9 % within ${at(0.999)} ms, all within ${at(1)} ms, ` +
      `${(cpu * 100).toFixed(0)} % of a core`
    );
  }
}

/** What the stream of a number asks for: all begin at once, and their events are spread over the time between two. */
function order(index: number, events: number): string {
  const afterMs = (index * EVERY_MS) / STREAMS;
  return JSON.stringify({ kind: 'paced', events, everyMs: EVERY_MS, afterMs } satisfies Order);
}

async function readWithMillrace(index: number, latencies: Latencies): Promise<number> {
  const headers = { 'x-soak': order(index, EVENTS) };
  const api = openai({ apiKey: 'any', baseURL: server.ready.baseURL, headers });
  let heard = 0;
  const events = fromCall(api.chat({ model: 'm', messages: [{ role: 'user', content: 'Go.' }] })).pipe(
    tap((event) => {
      if (event.type !== 'text') return;
      latencies.hear(event.text);
      heard += 1;
    }),
  );
  expect(await lastValueFrom(events)).toMatchObject({ type: 'finish', reason: 'stop' });
  return heard;
}

/** What has to be done at least: no parser, no JSON, no check. */
async function readWithUndici(index: number, events: number, agent: Agent, latencies: Latencies): Promise<number> {
  const { body } = await agent.request({
    origin: server.ready.baseURL,
    path: '/',
    method: 'POST',
    headers: { 'x-soak': order(index, events) },
    body: '{}',
  });
  let heard = 0;
  let rest = '';
  for await (const chunk of body as AsyncIterable<Buffer>) {
    const lines = (rest + chunk.toString('latin1')).split('\n\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const [, sentAt] = /"content":"([\d.]+) "/.exec(line) ?? [];
      if (sentAt === undefined) continue;
      latencies.hear(sentAt);
      heard += 1;
    }
  }
  return heard;
}

it(`reads ${STREAMS.toLocaleString('en')} paced streams at once for ${String(SECONDS)} s, each to its end`, async () => {
  const files = execFileSync('sh', ['-c', 'ulimit -n'], { encoding: 'utf8' }).trim();
  // Those of the second reading are opened while those of the first are kept for another request.
  const needed = 2 * STREAMS + 200;
  expect(
    files === 'unlimited' || Number(files) >= needed,
    `needs ${String(needed)} open files, \`ulimit -n\` allows ${files}`,
  ).toBe(true);

  const indices = Array.from({ length: STREAMS }, (_, index) => index);
  const ours = new Latencies(STREAMS * EVENTS);
  const heard = await Promise.all(indices.map((index) => readWithMillrace(index, ours)));
  const told = String(ours);
  expect(heard).toEqual(indices.map(() => EVENTS));

  const agent = new Agent();
  const events = Math.ceil(EVENTS / 2);
  const bare = new Latencies(STREAMS * events);
  const heardBare = await Promise.all(indices.map((index) => readWithUndici(index, events, agent, bare)));
  const toldBare = String(bare);
  await agent.close();
  expect(heardBare).toEqual(indices.map(() => events));

  console.log(
    `many streams: ${STREAMS.toLocaleString('en')} at once for ${String(SECONDS)} s, ${ours.count.toLocaleString('en')} events, ` +
      `none lost, no error (${files} open files allowed); from sending to hearing\n` +
      `  millrace: ${told}\n  undici alone, after it: ${toldBare}`,
  );
}, 300_000);
