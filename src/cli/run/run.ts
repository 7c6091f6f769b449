import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileJournal, isMillraceError, type OpenJobJournal } from '../../index.js';
import { printable } from '../../internal/textWidth.js';
import type { RunFlags } from '../commands/run.js';
import { type CLIConfig, loadConfig } from '../config.js';
import type { CLIContext } from '../context.js';
import { EXIT, type ExitCode, UsageError } from '../exitCodes.js';
import { reportError } from '../reportError.js';
import { probeRedis } from '../worker/probeRedis.js';
import { DEFAULT_QUEUE, type QueueAddress, queueAddress } from '../worker/queueAddress.js';
import { requirePeers } from '../worker/requirePeers.js';
import { makeFolder } from '../worker/makeFolder.js';
import { requireVariableNames } from '../worker/workerKeys.js';
import { describeJobs } from './describeJobs.js';
import type { FileJob } from './fileJob.js';
import { FileRun, type RunShown } from './fileRun.js';
import { JobFileError } from './jobProblems.js';
import { jobKey } from './jobKey.js';
import { jobsHere } from './jobsHere.js';
import { jobsQueued } from './jobsQueued.js';
import { jobSource, readJobs } from './readJobs.js';
import { runKeys } from './runKeys.js';
import { jobDefaults, type RunSettings, runSettings } from './runSettings.js';
import { onceAborted } from './stopSignals.js';

/**
 * Asks for every job of a file, each answer into a file of its own; begun again, it goes on where it was.
 * @param file - the job file; `-` for standard input
 */
export async function run(file: string, flags: RunFlags, context: CLIContext): Promise<ExitCode> {
  let queue: QueueAddress | undefined;
  try {
    queue = queueOf(flags, context);
    const config = await loadConfig(context, flags.config);
    const source = jobSource(file, context.stdin, flags.inputFormat);
    const jobs = await unlessStopped(context, readJobs(source, jobDefaults(flags, config), { config }));
    if (jobs === undefined) return EXIT.stopped;
    const asked = {
      jobs,
      config,
      flags,
      context,
      folder: resolve(flags.out ?? ''),
      settings: runSettings(flags, config),
    };
    if (asked.settings.footer && jobs.some(({ format }) => format !== 'text')) {
      throw new UsageError('--footer is a line for people; a file in --format json or events is for programs');
    }
    return await (queue === undefined ? runHere(asked) : runQueued(asked, queue));
  } catch (error) {
    if (error instanceof JobFileError) tellProblems(error, context);
    else reportError(context, error, queue?.login?.password);
    const isBadInput = error instanceof UsageError || isTaken(error);
    return isBadInput ? EXIT.usage : EXIT.failed;
  }
}

/** What a command line asks for, checked. */
interface AskedRun {
  readonly jobs: readonly FileJob[];
  readonly config: CLIConfig;
  readonly flags: RunFlags;
  readonly context: CLIContext;
  /** By its whole path. */
  readonly folder: string;
  readonly settings: RunSettings;
}

/** Does the jobs in this process. */
async function runHere({ jobs, config, flags, context, folder, settings }: AskedRun): Promise<ExitCode> {
  const keyOf = runKeys(jobs, config, context.env);
  const open = (): Promise<OpenJobJournal> => fileJournal(join(folder, '.millrace'), { fsync: settings.fsync }).open();
  if (flags.dryRun === true) {
    // Where there is no journal none is made.
    const known = existsSync(join(folder, '.millrace', 'journal')) ? await open() : undefined;
    const isNew = flags.out === undefined;
    const finished = isNew ? 0 : await countFinished(jobs, known, folder, settings).finally(() => known?.close());
    context.stdout.write(describeJobs(jobs, finished));
    return EXIT.complete;
  }
  const journal = await open();
  let finished: number;
  try {
    finished = await countFinished(jobs, journal, folder, settings);
  } catch (error) {
    await journal.close();
    throw error;
  }
  const doJobs = jobsHere({ settings, keyOf, folder, journal });
  return new FileRun({ jobs, finished, folder, settings, doJobs }, shownOf(flags), context).run();
}

/** Has the workers of a queue do the jobs. What is finished they know, and which files are in the way. */
async function runQueued(asked: AskedRun, address: QueueAddress): Promise<ExitCode> {
  const { jobs, config, flags, context, folder, settings } = asked;
  requireVariableNames(jobs, config.hasVariable);
  const below = folderBelow(flags.queueFolder ?? '');
  if (flags.dryRun === true) {
    context.stdout.write(describeJobs(jobs, 0));
    return EXIT.complete;
  }
  requirePeers('--queue');
  try {
    await probeRedis(address, context.signal);
  } catch (error) {
    if (context.signal.aborted) return EXIT.stopped;
    throw error;
  }
  await makeFolder(folder);
  const { queueJobs } = await import('../../bullmq/index.js');
  const { name, shown: url, login } = address;
  const doJobs = jobsQueued({ queueJobs, address, settings, folder, below });
  const plan = { jobs, finished: 0, folder, settings, doJobs, secret: login?.password };
  return new FileRun({ ...plan, queue: { name, url, role: 'follower' } }, shownOf(flags), context).run();
}

function shownOf({ out = '', json, plain }: RunFlags): RunShown {
  return { out, json: json === true, plain: plain === true };
}

/** The queue that the flags name. @throws UsageError for flags that do not go together */
function queueOf(flags: RunFlags, { env }: CLIContext): QueueAddress | undefined {
  const { queue, queueName, queueFolder, concurrency, perHost } = flags;
  if (queue === undefined) {
    const stray = queueName === undefined ? '--queue-folder' : '--queue-name';
    if (queueName !== undefined || queueFolder !== undefined) throw new UsageError(`${stray} goes with --queue URL`);
    return undefined;
  }
  for (const [flag, value] of [['--concurrency', concurrency] as const, ['--per-host', perHost] as const]) {
    if (value === undefined) continue;
    throw new UsageError(`with --queue the workers do the jobs: ${flag} belongs to millrace worker`);
  }
  return queueAddress(queue, queueName ?? DEFAULT_QUEUE, env);
}

/** A folder below another, with `/` between its parts. @throws UsageError for what leads elsewhere */
function folderBelow(text: string): string {
  const parts = text.split('/');
  if (text.startsWith('/') || /[\\\p{Cc}]|^[a-z]:/iu.test(text) || parts.includes('..')) {
    throw new UsageError(
      '--queue-folder is the way from the folder that the workers have as --out to that of this run, such as june/letters',
    );
  }
  return parts.filter((part) => part !== '' && part !== '.').join('/');
}

/** Each on a line of its own, as compilers do. */
function tellProblems({ message }: JobFileError, { stderr }: CLIContext): void {
  for (const line of message.split('\n')) stderr.write(`${printable(line)}\n`);
  stderr.write('millrace: nothing was asked, since every job must be right before one is\n');
}

/** What a reading comes to; `undefined` where Ctrl-C ended it: nobody may ever write into standard input. */
async function unlessStopped<T>({ signal, stdin }: CLIContext, reading: Promise<T>): Promise<T | undefined> {
  const stopped = new Promise<undefined>((resolve) => {
    onceAborted(signal, () => {
      resolve(undefined);
    });
  });
  const result = await Promise.race([reading, stopped]);
  if (signal.aborted) stdin.destroy(); // or the process would wait for it
  return result;
}

/** Another run is at work in the folder, its journal is none, or it cannot be written into; and not a disk that is full or broken. */
function isTaken(error: unknown): boolean {
  const isFull = isMillraceError(error) && ['ENOSPC', 'EDQUOT', 'EIO'].includes(String(error.context['code']));
  return isMillraceError(error) && error.code === 'ERR_SINK' && !isFull;
}

/** Of the files that are in the way so many are named. */
const MAX_NAMED = 5;

/**
 * Counts the jobs that an earlier run has finished.
 * @throws UsageError for files that are there already and that no earlier run has made: better now than when everything is paid for
 */
async function countFinished(
  jobs: readonly FileJob[],
  journal: OpenJobJournal | undefined,
  folder: string,
  { ifExists }: RunSettings,
): Promise<number> {
  let finished = 0;
  const inTheWay: FileJob[] = [];
  for (const job of jobs) {
    const isThere = existsSync(join(folder, job.out));
    const { state } = (await journal?.read(jobKey(job))) ?? {};
    if (state === 'published' && isThere) finished += 1;
    else if (state !== 'written' && isThere) inTheWay.push(job);
  }
  if (ifExists !== 'error' || inTheWay.length === 0) return finished;
  const named = inTheWay.slice(0, MAX_NAMED).map(({ out, line }) => `${out} (line ${String(line)})`);
  const more = inTheWay.length - named.length;
  throw new UsageError(
    `${named.join(', ')}${more > 0 ? ` and ${String(more)} more` : ''} ` +
      `${inTheWay.length === 1 ? 'is there already and was' : 'are there already and were'} not made by ` +
      `${inTheWay.length === 1 ? 'this job as it is' : 'these jobs as they are'} now; --if-exists skip or overwrite says what to do`,
  );
}
