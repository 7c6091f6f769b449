import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { lastValueFrom, type Observable, type OperatorFunction, tap } from 'rxjs';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { nodeFiles } from '../../src/internal/node/files.js';
import type { Call } from '../../src/protocol/call.js';
import { openai } from '../../src/providers/index.js';
import { toFile } from '../../src/sinks/toFile.js';
import { toStdout } from '../../src/sinks/toStdout.js';
import { fromCall } from '../../src/sources/fromCall.js';
import type { Receipt, StreamEvent } from '../../src/types.js';
import { type Child, startChild } from '../support/soakChild.js';
import { type Gate, RateGate, slowFile, slowOutput, StepGate } from '../support/soakGates.js';
import { watchResidentMemory } from '../support/soakMemory.js';
import { type Order, soakServer, type SoakReady, type SoakState } from '../support/soakServer.js';

const MIB = 1024 * 1024;
const asked = process.env['MILLRACE_SOAK_BYTES'];
/** `npm run soak` asks for more, and then a clock drives the sinks, and not the test. */
const BYTES = Number(asked ?? 24 * MIB);
const STREAMS = asked === undefined ? 2 : 50;
const BYTES_PER_SECOND = 10_000_000;
/** A read of the network. */
const CHUNK_BYTES = 64 * 1024;
const PIECE_CHARS = 1_000;

let server: Child<SoakReady, SoakState>;
let folder: string;
beforeAll(async () => {
  server = await startChild(soakServer);
});
afterAll(() => server.close());
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-'));
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(folder, { recursive: true });
});

function ask(chars: number): Call {
  const order: Order = { kind: 'flood', chars, pieceChars: PIECE_CHARS };
  const headers = { 'x-soak': JSON.stringify(order) };
  const api = openai({ apiKey: 'any', baseURL: server.ready.baseURL, headers });
  return api.chat({ model: 'm', messages: [{ role: 'user', content: 'Go.' }] });
}

const { create } = nodeFiles;

type Sink = OperatorFunction<StreamEvent | string, Receipt>;

interface SinkCase {
  readonly name: string;
  /** Characters at which one says that it is full. */
  readonly mark: number;
  readonly open: (gate: Gate, index: number) => Sink;
}

const sinks: readonly SinkCase[] = [
  {
    name: 'toStdout',
    mark: 16 * 1024,
    open: (gate) => toStdout({ stream: slowOutput(gate) }),
  },
  {
    name: 'toFile',
    mark: 64 * 1024,
    open: (gate, index) => {
      vi.spyOn(nodeFiles, 'create').mockImplementation((path) => {
        const file = create(path);
        return file && slowFile(file, gate);
      });
      return toFile(join(folder, `${String(index)}.txt`), { ifExists: 'overwrite', fsync: false });
    },
  },
];

interface Transfer {
  readonly gate: Gate;
  readonly receipts: Promise<readonly Receipt[]>;
  /** The most that was in this process and not taken. */
  readonly held: () => number;
}

function transfer({ open }: SinkCase, gate: Gate, streams: number, bytesEach: number): Transfer {
  let arrived = 0;
  let held = 0;
  const count = tap<StreamEvent>((event) => {
    if (event.type !== 'text') return;
    arrived += event.text.length;
    held = Math.max(held, arrived - gate.taken);
  });
  // Text that is kept for an error has a bound of its own, of 1 Mi characters for each stream.
  const maxReceivedChars = streams === 1 ? undefined : 65_536;
  const read = (index: number): Observable<Receipt> =>
    fromCall(ask(bytesEach), { maxReceivedChars }).pipe(count, open(gate, index));
  const receipts = Promise.all(Array.from({ length: streams }, (_, index) => lastValueFrom(read(index))));
  return { gate, receipts, held: () => held };
}

/** The answers that the server has begun since it had begun so many. */
async function answersAfter(count: number): Promise<SoakState['answers']> {
  return (await server.ask()).answers.slice(count);
}

function sum(answers: SoakState['answers'], of: (answer: SoakState['answers'][number]) => number): number {
  return answers.reduce((total, answer) => total + of(answer), 0);
}

const cases = sinks.flatMap((sink) =>
  [1, STREAMS].map((streams) => ({
    sink,
    streams,
    what: `${(BYTES / MIB).toLocaleString('en')} MiB in ${streams === 1 ? 'one stream' : `${String(streams)} streams`}`,
    where: sink.name,
  })),
);

it.each(cases)(
  'holds $what back before a slow $where',
  async ({ sink, streams, what, where }) => {
    const each = Math.floor(BYTES / streams);
    // What is made once and kept is made before, as are the heap's own reserves for such a load.
    await transfer(
      sink,
      new RateGate(asked === undefined ? Infinity : BYTES_PER_SECOND),
      streams,
      Math.floor(each / 32),
    ).receipts;
    const before = (await server.ask()).answers.length;
    const grown = await watchResidentMemory();

    const gate = asked === undefined ? new StepGate() : new RateGate(BYTES_PER_SECOND);
    const { receipts, held } = transfer(sink, gate, streams, each);
    const over = receipts.then(() => true);
    let underway = 0;
    for (let isOver = false; !isOver;) {
      const step = gate instanceof StepGate ? gate.allow(MIB) : delay(1_000);
      isOver = await Promise.race([step.then(() => false), over]);
      const { taken } = gate;
      underway = Math.max(underway, sum(await answersAfter(before), ({ chars }) => chars) - taken);
    }
    const memory = grown();

    for (const receipt of await receipts) expect(receipt).toMatchObject({ outcome: 'complete', bytes: each });
    expect(gate.taken).toBe(streams * each);
    const answers = await answersAfter(before);
    const seconds = (of: (answer: SoakState['answers'][number]) => number): string =>
      (sum(answers, of) / answers.length / 1_000).toFixed(1);
    console.log(
      `pressure: ${what} into ${where}${gate instanceof StepGate ? ', step by step' : ' at 10 MB/s'}: ` +
        `resident memory grew by ${(memory / MIB).toFixed(0)} MiB; at most ${(held() / 1024).toFixed(0)} KiB were held here, ` +
        `${(underway / MIB).toFixed(1)} MiB in the network; ` +
        `the server waited ${seconds(({ waitedMs }) => waitedMs)} s of ${seconds(({ ms }) => ms)}`,
    );
    expect(held()).toBeLessThanOrEqual(streams * (sink.mark + CHUNK_BYTES));
    // Of what was sent in advance most fills the buffers of the kernel: 4 MiB for each connection here.
    expect(underway).toBeLessThan(BYTES / 2);
    // So few bytes, in the short version, could not make more than what the heap takes for itself.
    if (asked !== undefined) expect(memory).toBeLessThan(64 * MIB);
  },
  600_000,
);
