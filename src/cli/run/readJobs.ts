import { createReadStream } from 'node:fs';
import { extname } from 'node:path';
import type { Readable } from 'node:stream';
import type { CLIConfig } from '../config.js';
import { UsageError } from '../exitCodes.js';
import type { FileJob, OutputFormat } from './fileJob.js';
import { checkJobs } from './checkJobs.js';
import type { JobDrafts } from './jobDraft.js';
import { JobProblems } from './jobProblems.js';
import { readCSVDrafts } from './readCSVDrafts.js';
import { readJSONDrafts, readJSONLinesDrafts } from './readJSONDrafts.js';
import { readText, type TextSource } from './readText.js';
import { readYAMLDrafts } from './readYAMLDrafts.js';

/** How a job file is written. */
export type JobFormat = 'jsonl' | 'json' | 'yaml' | 'csv';

/** A job file. */
export interface JobSource {
  /** Its name in messages; its ending tells the format where `format` does not. `-` is standard input. */
  readonly name: string;
  readonly text: TextSource;
  /** @defaultValue by the name's ending; JSON Lines for standard input */
  readonly format?: JobFormat | undefined;
}

/** What flags say for all jobs: fields of a job. What a file says, in its defaults or in a job, stands over it. */
export interface JobDefaults {
  readonly provider?: string | undefined;
  readonly mode?: string | undefined;
  readonly model?: string | undefined;
  readonly system?: string | undefined;
  readonly maxTokens?: number | undefined;
  readonly temperature?: number | undefined;
  readonly enableThinking?: boolean | undefined;
  readonly baseUrl?: string | undefined;
  readonly region?: string | undefined;
  readonly service?: string | undefined;
  readonly app?: string | undefined;
  readonly agent?: string | undefined;
  readonly keyEnv?: string | undefined;
  readonly format?: OutputFormat | undefined;
  readonly output?: string | undefined;
}

export interface ReadJobsOptions {
  /** What stands under everything else. @defaultValue nothing */
  readonly config?: CLIConfig | undefined;
}

/**
 * Reads a job file and checks all of it, as far as that can be done without asking: fields, requests, and where the answers go.
 *
 * A job's own fields stand over the file's defaults, those over `defaults`, and those over the config file. Objects are joined member by
 * member, everything else is replaced, and `null` takes a default away. Of a prompt and a request the nearer one counts.
 * @throws JobFileError, a UsageError, with every problem and its line, the first 20 of them; UsageError for a file that cannot be read,
 * holds no jobs, or whose format nobody can tell, and for a flag that is wrong whatever the file says
 */
export async function readJobs(
  { name, text, format = formatOf(name) }: JobSource,
  defaults: JobDefaults = {},
  { config }: ReadJobsOptions = {},
): Promise<readonly FileJob[]> {
  const shown = name === '-' ? 'stdin' : name;
  const content = await readText(text, shown);
  const problems = new JobProblems(shown);
  const drafts = READERS[format](content, problems);
  if (drafts.jobs.length === 0 && problems.count === 0) throw new UsageError(`${shown}: holds no jobs`);
  const jobs = checkJobs(drafts, problems, { ...defaults }, config);
  problems.throwAny();
  return jobs;
}

/** The job file that a command line names: a path, or `-` for standard input. */
export function jobSource(name: string, stdin: Readable, format?: JobFormat): JobSource {
  formatOf(name, format); // throws before anything is opened
  // A stream that nobody reads yet would have nobody to tell that its file is not there.
  const file: TextSource = { [Symbol.asyncIterator]: () => createReadStream(name)[Symbol.asyncIterator]() };
  return { name, format, text: name === '-' ? stdin : file };
}

const READERS: Readonly<Record<JobFormat, (text: string, problems: JobProblems) => JobDrafts>> = {
  jsonl: readJSONLinesDrafts,
  json: readJSONDrafts,
  yaml: readYAMLDrafts,
  csv: readCSVDrafts,
};

const ENDINGS: Readonly<Record<string, JobFormat | undefined>> = {
  '.jsonl': 'jsonl',
  '.ndjson': 'jsonl',
  '.json': 'json',
  '.yaml': 'yaml',
  '.yml': 'yaml',
  '.csv': 'csv',
};

function formatOf(name: string, given?: JobFormat): JobFormat {
  const format = given ?? (name === '-' ? 'jsonl' : ENDINGS[extname(name).toLowerCase()]);
  if (format === undefined) {
    throw new UsageError(`${name}: its ending does not tell its format; give --input-format jsonl, json, yaml or csv`);
  }
  return format;
}
