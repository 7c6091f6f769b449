import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { catchError, lastValueFrom, map, merge, type Observable, of, reduce, tap } from 'rxjs';
import { Agent } from 'undici';
import { type Call, fromCall, isMillraceError, type Receipt, retryOnDisconnect, stopOn, toFile } from '../index.js';
import { gateway, inferencesh, polargrid } from '../providers/index.js';
import {
  type ProviderBaseURLs,
  type ProviderServer,
  type ScriptedAnswer,
  startProviderServer,
} from '../testing/index.js';
import { type CLIContext, type Colors, colorsFor, onReaderLeft } from './context.js';
import type { DemoStream, DemoView } from './demoView.js';
import { EXIT, type ExitCode, exitCodeOf } from './exitCodes.js';
import { liveView, MIN_COLUMNS, MIN_ROWS } from './liveView.js';
import { plainView } from './plainView.js';
import { receiptTable } from './receiptTable.js';
import { reportError } from './reportError.js';
import { wrapText } from '../internal/textWidth.js';

/** What `millrace demo` takes. */
export interface DemoOptions {
  /** The folder for the three files. */
  readonly out: string;
  /** Milliseconds between two frames of an answer; the three differ a little from it. */
  readonly pace: number;
}

interface Shown extends DemoStream {
  readonly call: (urls: ProviderBaseURLs) => Call;
  /** Where the request that is streamed arrives. */
  readonly path: string;
  readonly answer: ScriptedAnswer;
  /** How fast it answers, against the others. */
  readonly tempo: number;
  /** Asked again when its connection is lost. */
  readonly goesOn?: true;
}

const PROMPT = 'Tell me a short story in which something is counted.';

/** The server answers any key; this one shows what it is. */
const apiKey = 'demo-key-of-no-worth';

const STREAMS: readonly Shown[] = [
  {
    name: 'polargrid',
    about: 'a chat that thinks first; it will be cut on purpose',
    path: '/polargrid/v1/chat/completions',
    // Half of the frames, and then a proper end of the HTTP body, as a careless proxy makes it.
    answer: { fault: { kind: 'end', at: { frame: 190 } } },
    tempo: 1.1,
    call: (urls) =>
      polargrid({ apiKey, baseURL: urls.polargrid }).chat({
        model: 'millwheel-1',
        messages: [{ role: 'user', content: PROMPT }],
        max_tokens: 1000,
        enable_thinking: true,
      }),
  },
  {
    name: 'inferencesh',
    about: 'a task; its connection will be lost, and it goes on',
    path: '/inferencesh/apps/run',
    answer: { fault: { kind: 'reset', at: { frame: 110 } } },
    tempo: 1,
    goesOn: true,
    call: (urls) =>
      inferencesh({ apiKey, baseURL: urls.inferencesh }).run({
        app: 'millhouse/storyteller@3',
        input: { text: PROMPT },
      }),
  },
  {
    name: 'gateway',
    about: 'a chat that tells its cost',
    path: '/gateway/api/v1/generate/stream',
    answer: {},
    tempo: 0.8,
    call: (urls) =>
      gateway({ apiKey, baseURL: urls.gateway, currency: 'USD' }).chat({
        service_name: 'millhouse',
        model_name: 'storyteller-3',
        input: PROMPT,
      }),
  },
];

const INTRO =
  'Three streams, each to its own file, played by a server in this process: no key, no network. Ctrl-C stops.';

/** Streams from three providers at once, each to its own file, and shows the receipts. */
export async function demo({ out, pace }: DemoOptions, context: CLIContext): Promise<ExitCode> {
  const { stdout, env, signal } = context;
  const colors = colorsFor(stdout, env);
  const say = (text: string): void => {
    const width = Math.min(stdout.columns ?? 120, 120) - 1;
    stdout.write(`${wrapText(text, width).join('\n')}\n`);
  };
  const reader = new AbortController();
  const stopListening = onReaderLeft(stdout, () => {
    reader.abort();
  });
  const answers = new Map(
    STREAMS.map(({ path, answer, tempo }) => [
      path,
      { ...answer, pace: pace === 0 ? ('full' as const) : { perFrameMs: Math.round(pace * tempo) } },
    ]),
  );
  const server = await startProviderServer({ script: ({ path }) => answers.get(path) });
  // A dispatcher of its own: HTTP_PROXY is not for a server in this process.
  const dispatcher = new Agent();
  let receipts: readonly Receipt[];
  say(INTRO);
  stdout.write('\n');
  const view = viewFor(context, colors);
  try {
    const stop = AbortSignal.any([signal, reader.signal]);
    const streams = STREAMS.map((stream) => {
      const call = stream.call(server.baseURLs);
      return fromCall(call, { dispatcher }).pipe(
        retryOnDisconnect({
          count: stream.goesOn === true ? 3 : 0,
          delay: { initialMs: pace * 40 },
          onRetry: () => {
            view.note(stream.name, 'connection lost, going on');
          },
        }),
        stopOn(stop),
        tap((event) => {
          view.show(stream.name, event);
        }),
        toFile(join(out, `${stream.name}.txt`), { ifExists: 'overwrite', parents: true }),
        catchError(receiptOf),
        tap((receipt) => {
          view.end(stream.name, receipt);
        }),
        map((receipt) => ({ name: stream.name, receipt })),
      );
    });
    const byName = await lastValueFrom(
      merge(...streams).pipe(reduce((all, { name, receipt }) => all.set(name, receipt), new Map<string, Receipt>())),
      { defaultValue: new Map<string, Receipt>() },
    );
    receipts = STREAMS.flatMap(({ name }) => byName.get(name) ?? []);
    if (stop.aborted) await cancelled(server);
  } finally {
    view.close();
    // What is under way still is the request that cancels the task: its answer is waited for, within reason.
    await Promise.race([dispatcher.close(), sleep(1000, undefined, { ref: false })]);
    await Promise.all([dispatcher.destroy(), server.close()]);
    stopListening();
  }

  stdout.write(`\n${receiptTable(receipts, stdout.columns ?? 80, colors)}\n`);
  const unwritten = receipts.find((receipt) => exitCodeOf(receipt) === EXIT.notWritten);
  if (unwritten !== undefined) {
    reportError(context, unwritten.error?.message ?? 'a file could not be written');
    return EXIT.notWritten;
  }
  for (const line of closingWords(receipts, out)) say(line);
  if (receipts.some(({ outcome }) => outcome === 'failed')) return EXIT.failed;
  return receipts.some(({ outcome }) => outcome === 'stopped') && signal.aborted ? EXIT.stopped : EXIT.complete;
}

function viewFor({ stdout, env }: CLIContext, colors: Colors): DemoView {
  const { isTTY, columns = 80, rows = 24 } = stdout;
  const isRoomy = columns >= MIN_COLUMNS && rows >= MIN_ROWS;
  return isTTY === true && env['TERM'] !== 'dumb' && isRoomy
    ? liveView(stdout, STREAMS, colors)
    : plainView(stdout, STREAMS);
}

/** The receipt that a failed sink's error carries. */
function receiptOf(error: unknown): Observable<Receipt> {
  if (isMillraceError(error) && error.receipt !== undefined) return of(error.receipt);
  throw error;
}

/** A stopped task is cancelled by a request that outlives its stream; the server stays until it has been answered. */
async function cancelled(server: ProviderServer): Promise<void> {
  if (!server.requests.some(({ path }) => path.endsWith('/apps/run'))) return;
  const arrival = async (): Promise<void> => {
    let request = await server.nextRequest();
    while (!request.path.endsWith('/cancel')) request = await server.nextRequest();
    await request.ended;
  };
  const waiting = arrival();
  waiting.catch(() => undefined); // The server is closed while it waits: nothing was to be cancelled after all.
  await Promise.race([waiting, sleep(1000, undefined, { ref: false })]);
}

function closingWords(receipts: readonly Receipt[], out: string): string[] {
  const cut = receipts.find(({ outcome }) => outcome === 'interrupted');
  const resumed = receipts.find(
    ({ outcome, attempts, restarts }) => outcome === 'complete' && attempts > 1 && restarts === 0,
  );
  const stopped = receipts.filter(({ outcome }) => outcome === 'stopped');
  const words = [
    cut === undefined
      ? undefined
      : `${cut.provider ?? 'One'} was cut on purpose in mid-answer, by a proper end of its HTTP body: other clients call that ` +
        'complete. Here the provider’s own sign of the end is missing, so the file stays .partial.',
    resumed === undefined
      ? undefined
      : `${resumed.provider ?? 'One'} lost its connection in mid-answer. Its task ran on without a reader, so it was opened again by its ` +
        'id and went on where it broke: every character is there once.',
    stopped.length === 0
      ? undefined
      : `Stopped: ${stopped.map(({ provider }) => provider ?? 'one').join(', ')}. The requests were aborted, the task was ` +
        'cancelled, and what had come is in the .partial files.',
    `The files are in ${resolve(out)}`,
    'Try next: npx millrace ask --help (a real API), npx millrace mock (this server, for your client)',
  ];
  return words.filter((line) => line !== undefined);
}
