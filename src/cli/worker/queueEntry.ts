import { posix } from 'node:path';
import * as z from 'zod';
import { FINISH_REASONS } from '../../internal/finishReasons.js';
import { isRecord } from '../../protocol/errorBody.js';
import { UsageError } from '../exitCodes.js';
import { PROVIDER_NAMES } from '../providerCall.js';
import type { FileJob } from '../run/fileJob.js';
import { jobKey } from '../run/jobKey.js';
import type { RunSettings } from '../run/runSettings.js';

/** How a job is run, as far as whoever puts it into the queue decides it. */
export type JobSettings = Pick<RunSettings, 'retries' | 'timeout' | 'footer' | 'publishOn' | 'ifExists' | 'fsync'>;

/** A job as a worker gets it. There is no key in it: only the names by which a worker finds one of its own. */
export interface QueueEntry {
  /** Its place is below the workers' folder. */
  readonly job: Omit<FileJob, 'source'>;
  readonly settings: JobSettings;
}

/** A worker does no job of another version: it may not know what that asks for. */
const VERSION = 1;

/** The name of a job in a queue: the same on every machine, and in every run of the same file into the same folder. */
export function entryKey(job: FileJob, folder: string): string {
  return jobKey({ ...job, out: posix.join(folder, job.out) });
}

/**
 * What is put into the queue for a job; JSON. Members are named one by one, so that nothing comes along that nobody thought of.
 * @param folder - where its run's folder is, below that of the workers
 */
export function writeEntry(job: FileJob, settings: JobSettings, folder: string): Readonly<Record<string, unknown>> {
  const { id, line, options, asks, keyEnv, account, format, out } = job;
  const { retries, timeout, footer, publishOn, ifExists, fsync } = settings;
  return {
    version: VERSION,
    job: { id, line, options, asks, keyEnv, account, format, out: posix.join(folder, out) },
    settings: { retries, timeout, footer, publishOn, ifExists, fsync },
  };
}

/**
 * Reads what a worker was given. It comes from outside.
 * @throws UsageError for what this millrace cannot do, saying why; no value is quoted, for it may be a prompt
 */
export function readEntry(value: unknown): QueueEntry {
  const { data: versioned } = anyVersion.safeParse(value);
  if (versioned === undefined) throw new UsageError('it is no job of millrace run: it has no version');
  if (versioned.version !== VERSION) {
    const version = String(versioned.version);
    throw new UsageError(
      `it is a job of version ${version}, and this worker knows ${String(VERSION)}: workers and millrace run must be of one release`,
    );
  }
  const read = entry.safeParse(value);
  if (read.success) {
    const { job, settings } = read.data;
    return { job: { ...job, keyEnv: job.keyEnv }, settings: { ...settings, publishOn: settings.publishOn } };
  }
  const [issue] = read.error.issues;
  throw new UsageError(
    `it is no job of millrace run: ${issue?.path.map(String).join('.') ?? ''}: ${issue?.message ?? ''}`,
  );
}

const anyVersion = z.object({ version: z.int() });

const text = z.string('must be a text').min(1, 'must not be empty');
const object = z.custom<Readonly<Record<string, unknown>>>(isRecord, 'must be an object'); // as it is, whatever its members are called
const flag = z.boolean('must be true or false');
const count = z.int('must be a whole number').min(0, 'must not be negative');
const ms = z.exactOptional(z.number('must be a number').positive('must be above 0'));

const entry = z.object({
  job: z.object({
    id: z.string('must be a text'),
    line: count,
    options: z.object({
      provider: z.enum(PROVIDER_NAMES, 'is a provider that this worker does not know'),
      model: z.exactOptional(text),
      mode: z.exactOptional(text),
      system: z.exactOptional(text),
      maxTokens: z.exactOptional(count),
      temperature: z.exactOptional(z.number('must be a number')),
      enableThinking: z.exactOptional(z.literal(true, 'must be true')),
      baseUrl: z.exactOptional(text),
      region: z.exactOptional(text),
      service: z.exactOptional(text),
      app: z.exactOptional(text),
      agent: z.exactOptional(text),
      input: z.exactOptional(object),
    }),
    asks: z.union(
      [z.strictObject({ prompt: z.string() }), z.strictObject({ request: object })],
      'must be a prompt or a request',
    ),
    keyEnv: text.regex(/^[A-Za-z_]\w*$/, 'must be the name of an environment variable').optional(),
    account: text.optional(),
    format: z.enum(['text', 'json', 'events'], 'must be text, json or events'),
    out: text,
  }),
  settings: z.object({
    retries: count,
    timeout: z.object({
      headersMs: ms,
      firstContentMs: ms,
      contentIdleMs: ms,
      wireIdleMs: ms,
      attemptMs: ms,
    }),
    footer: flag,
    publishOn: z.array(z.enum(FINISH_REASONS), 'must be a list of finish reasons').optional(),
    ifExists: z.enum(['error', 'skip', 'overwrite'], 'must be error, skip or overwrite'),
    fsync: flag,
  }),
});
