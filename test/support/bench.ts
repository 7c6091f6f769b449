import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { connect, type AddressInfo, type Server } from 'node:net';
import { fileURLToPath } from 'node:url';
import type * as core from '../../src/index.js';
import type * as providers from '../../src/providers/index.js';

/** A stream that the benchmark measures, as `bench/fixtures.mjs` describes it. */
export interface BenchFixture {
  readonly format: string;
  readonly frames: readonly string[];
  readonly tokens: number;
  readonly chars: number;
}

/** How a body is cut. */
export type BenchCut = { readonly framesPerChunk: number } | { readonly bytesPerChunk: number };

/** A way from bytes to text, as `bench/readers.mjs` has them. */
export type BenchReader = (
  library: { readonly core: typeof core; readonly providers: typeof providers; readonly createParser?: unknown },
  work: { readonly format: string; readonly chunks: readonly Uint8Array[]; readonly onText: (text: string) => void },
) => () => void;

/** A line of `bench/results.json`. */
export interface BenchLine {
  readonly name: string;
  readonly median: number;
  readonly spread: number;
  readonly rounds: readonly number[];
}

/** What of `bench/results.json` is looked at here. */
export interface BenchResults {
  readonly tables: readonly { readonly row: string; readonly metric: string; readonly lines: readonly BenchLine[] }[];
}

/** What the benchmark's modules export, by file. They are plain JavaScript. */
interface BenchModules {
  'dialects.mjs': {
    readonly DIALECTS: readonly string[];
    readonly dialectFixture: (name: string, count: number, wire: object) => Promise<BenchFixture>;
  };
  'documents.mjs': { readonly FILES: Readonly<Record<'results' | 'page' | 'picture', URL>> };
  'fixtures.mjs': {
    readonly bytesOf: (frames: readonly string[]) => number;
    readonly chatFixture: (count: number) => BenchFixture;
    readonly chunksOf: (frames: readonly string[], cut: BenchCut) => Uint8Array[];
  };
  'fullServer.mjs': { readonly createFullServer: () => Server };
  'markdown.mjs': { readonly markdownOf: (results: BenchResults) => string };
  'paced.mjs': {
    readonly STAMP_AT: number;
    readonly STAMP_CHARS: number;
    readonly STAMPED_BYTES: number;
    readonly pacedBytes: (tokens: number) => number;
  };
  'pacedServer.mjs': { readonly createPacedServer: () => Server };
  'picks.mjs': {
    readonly isNDJSON: (format: string) => boolean;
    readonly picks: Readonly<Record<string, (frame: unknown) => string | null | undefined>>;
  };
  'picture.mjs': {
    readonly panelsOf: (results: BenchResults) => readonly {
      readonly title: string;
      readonly bars: readonly { readonly name: string; readonly label: string }[];
    }[];
    readonly pictureOf: (results: BenchResults) => Promise<string>;
  };
  'readers.mjs': Readonly<
    Record<'pipeline' | 'parseThenJSON' | 'decoder' | 'splitLines' | 'eventsourceParser', BenchReader>
  >;
  'recordings.mjs': {
    readonly RECORDINGS: readonly { readonly file: string; readonly format: string }[];
    readonly recordingFixture: (file: string, count: number) => BenchFixture;
    readonly repeated: (body: string, format: string, count: number) => BenchFixture;
  };
  'round.mjs': {
    readonly round: (
      pipeline: { readonly expected: unknown; readonly amounts: unknown; readonly run: () => unknown },
      limits: { readonly cpuMillis: number; readonly wallMillis: number },
    ) => Promise<{ readonly runs: number }>;
  };
  'statistics.mjs': Readonly<Record<'median' | 'spread', (values: readonly number[]) => number>>;
}

/** A module of the benchmark. */
export async function bench<File extends keyof BenchModules>(file: File): Promise<BenchModules[File]> {
  // The modules carry no types; they are the ones above.
  return (await import(new URL(`../../bench/${file}`, import.meta.url).href)) as BenchModules[File];
}

/** Whether the benchmark's peers are installed: `npm run bench` does it. */
export const hasPeers = existsSync(
  fileURLToPath(new URL('../../bench/node_modules/eventsource-parser', import.meta.url)),
);

/** The parser that millrace's is measured against. */
export async function eventsourceParser(): Promise<object> {
  const { resolve } = createRequire(new URL('../../bench/package.json', import.meta.url));
  // What it exports is handed on as it is.
  return (await import(resolve('eventsource-parser'))) as object;
}

/** Asks a server of the benchmark; gives the chunks of HTTP, as they are on the wire, and closes it. */
export async function chunksFrom(server: Server, path: string): Promise<Buffer[]> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1'); // it listens on a port
  socket.write(`POST ${path}/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}`);
  const pieces: Buffer[] = [];
  for await (const piece of socket) {
    pieces.push(piece as Buffer); // no encoding was set
    if (Buffer.concat(pieces.slice(-2)).includes('\r\n0\r\n\r\n')) break;
  }
  await new Promise((resolve) => server.close(resolve));
  return dechunk(Buffer.concat(pieces));
}

/** The chunks of a body in the chunked coding, without the last one, which is empty. */
function dechunk(response: Buffer): Buffer[] {
  const chunks: Buffer[] = [];
  let at = response.indexOf('\r\n\r\n') + 4;
  for (;;) {
    const start = response.indexOf('\r\n', at) + 2;
    const length = Number.parseInt(response.toString('latin1', at, start), 16);
    if (!(length > 0)) return chunks;
    chunks.push(response.subarray(start, start + length));
    at = start + length + 2;
  }
}
