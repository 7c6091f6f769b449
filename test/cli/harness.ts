import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { onTestFinished } from 'vitest';
import { startProviderServer, type ProviderServer, type StartProviderServerOptions } from 'millrace/testing';
import type { CLIContext } from '../../src/cli/context.js';
import { runCLI } from '../../src/cli/program.js';

/** Text that grows, and those who wait for a part of it. */
export class Transcript {
  text = '';
  readonly #waiting = new Set<() => void>();

  add(text: string): void {
    this.text += text;
    for (const look of [...this.#waiting]) look();
  }

  /** Resolves with the match as soon as the text has one. */
  waitFor(pattern: RegExp): Promise<RegExpExecArray> {
    return new Promise((resolve) => {
      const look = (): void => {
        const match = pattern.exec(this.text);
        if (match === null) return;
        this.#waiting.delete(look);
        resolve(match);
      };
      this.#waiting.add(look);
      look();
    });
  }
}

/** An output that remembers, and may pretend to be a terminal. */
export class Capture extends Writable {
  readonly transcript = new Transcript();
  readonly isTTY: boolean;
  readonly columns: number;
  readonly rows: number;

  constructor(terminal?: { readonly columns: number; readonly rows: number }) {
    super({ decodeStrings: false });
    this.isTTY = terminal !== undefined;
    this.columns = terminal?.columns ?? 100;
    this.rows = terminal?.rows ?? 30;
  }

  get text(): string {
    return this.transcript.text;
  }

  override _write(chunk: string, _encoding: string, written: () => void): void {
    this.transcript.add(chunk);
    written();
  }
}

export interface CLIRun {
  readonly stdout: Capture;
  readonly stderr: Capture;
  /** What Ctrl-C does, and another one. */
  readonly stop: () => void;
  readonly insist: () => void;
  readonly exitCode: Promise<number>;
}

export interface CLISettings {
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
  readonly terminal?: { readonly columns: number; readonly rows: number };
}

/** Runs a command line in this process. */
export function cli(args: readonly string[], { env = {}, stdin, terminal }: CLISettings = {}): CLIRun {
  const controller = new AbortController();
  const insisting = new AbortController();
  const stdout = new Capture(terminal);
  const stderr = new Capture(terminal);
  const input = stdin === undefined ? Object.assign(new PassThrough(), { isTTY: true }) : Readable.from([stdin]);
  const context: CLIContext = {
    stdin: input,
    stdout,
    stderr,
    env,
    signal: controller.signal,
    insisted: () => insisting.signal,
  };
  onTestFinished(() => {
    controller.abort();
    insisting.abort();
  });
  return {
    stdout,
    stderr,
    stop: () => {
      controller.abort();
    },
    insist: () => {
      insisting.abort();
    },
    exitCode: runCLI(args, context),
  };
}

/** A provider server for one test. */
export async function providers(options: StartProviderServerOptions = {}): Promise<ProviderServer> {
  const server = await startProviderServer(options);
  onTestFinished(() => server.close());
  return server;
}

/** A folder for one test. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-cli-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

const path = (relative: string): string => fileURLToPath(new URL(`../../${relative}`, import.meta.url));

/** Bundles the command line into a folder laid out like the package; resolves with the file to run. */
export async function bundleCLI(folder: string): Promise<string> {
  const outfile = join(folder, 'dist/cli/main.js');
  await mkdir(join(folder, 'dist/cli'), { recursive: true });
  await copyFile(path('package.json'), join(folder, 'package.json'));
  await symlink(path('node_modules'), join(folder, 'node_modules'));
  await build({
    entryPoints: [path('src/cli/main.ts')],
    outdir: join(folder, 'dist/cli'),
    splitting: true,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    external: ['rxjs', 'undici', 'zod', 'bullmq', 'ioredis'],
    banner: {
      js: "import { createRequire as makeRequire } from 'node:module'; const require = makeRequire(import.meta.url);",
    },
    alias: { '#io': path('src/internal/io.node.ts'), '#templates': path('src/protocol/template.ts') },
    logLevel: 'warning',
  });
  return outfile;
}

export interface ChildRun {
  readonly child: ChildProcess;
  readonly stdout: Transcript;
  readonly stderr: Transcript;
  readonly exitCode: Promise<number | null>;
}

/** Runs the bundled command line as a process of its own. */
export function spawnCLI(file: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): ChildRun {
  const child = spawn(process.execPath, [file, ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  const stdout = new Transcript();
  const stderr = new Transcript();
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout.add(text);
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr.add(text);
  });
  const exitCode = once(child, 'close').then(() => child.exitCode);
  return { child, stdout, stderr, exitCode };
}
