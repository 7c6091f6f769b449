import type { FinishReason, ToFileOptions } from '../../index.js';
import { FINISH_REASONS } from '../../internal/finishReasons.js';
import type { CommandDefinition } from '../commandDefinition.js';
import { UsageError } from '../exitCodes.js';
import { amount, duration, finishReasons, wholeNumber } from '../parsers.js';
import {
  BASE_URL,
  CONFIG,
  CONFIG_FILES,
  ENABLE_THINKING,
  KEY_ENV,
  KEY_VARIABLES,
  MODE,
  MODEL,
  PLACES,
  PROVIDER,
  PROVIDER_NOTES,
  PROVIDERS_SECTION,
  SYSTEM,
  TEMPERATURE,
} from './callFlags.js';
import { QUEUE, QUEUE_NAME, QUEUE_PASSWORD } from './queueFlags.js';

/** What the flags of `millrace run` say. Nothing has a default here: the jobs and the config file come between. Times are in milliseconds, 0 for no limit. */
export interface RunFlags {
  readonly out?: string;
  readonly dryRun?: true;
  readonly inputFormat?: 'jsonl' | 'json' | 'yaml' | 'csv';
  readonly provider?: string;
  readonly mode?: string;
  readonly model?: string;
  readonly system?: string;
  readonly maxOutputTokens?: number;
  readonly temperature?: number;
  readonly enableThinking?: true;
  readonly baseUrl?: string;
  readonly keyEnv?: string;
  readonly region?: string;
  readonly service?: string;
  readonly app?: string;
  readonly agent?: string;
  readonly output?: string;
  readonly format?: 'text' | 'json' | 'events';
  readonly footer?: true;
  readonly publishOn?: readonly FinishReason[];
  readonly ifExists?: ToFileOptions['ifExists'];
  readonly fsync?: boolean;
  readonly concurrency?: number;
  readonly perHost?: number;
  readonly retries?: number;
  readonly timeoutHeaders?: number;
  readonly timeoutFirstContent?: number;
  readonly timeoutContentIdle?: number;
  readonly timeoutWireIdle?: number;
  readonly timeoutAttempt?: number;
  readonly maxCost?: number;
  readonly maxTokens?: number;
  readonly queue?: string;
  readonly queueName?: string;
  readonly queueFolder?: string;
  readonly json?: true;
  readonly plain?: true;
  readonly config?: string;
}

const TIMEOUTS = [
  ['headers', 'none', 'from asking to the headers of the answer'],
  ['first-content', '5m', 'from asking to the first piece of the answer'],
  ['content-idle', '2m', 'the longest silence of content; keep-alives do not count'],
  ['wire-idle', 'none', 'the longest silence of the connection; any byte counts'],
  ['attempt', 'none', 'one attempt as a whole'],
] as const;

const FINISHES = FINISH_REASONS.map((value) => ({ value, about: '' }));

export const runCommand: CommandDefinition<RunFlags> = {
  name: 'run',
  about: 'ask for every job of a file, each answer into a file of its own; begun again, it goes on where it was',
  arguments: [
    {
      syntax: '[file]',
      about:
        'the jobs: JSON Lines, JSON, YAML or CSV, told by its ending; - reads standard input, as does nothing where that is a pipe',
      values: 'files',
    },
  ],
  flags: [
    { flags: '-o, --out <dir>', about: 'folder for the answers, the journal and the report', values: 'folders' },
    {
      flags: '--dry-run',
      about: 'check every job, and whether a file is in its way; ask nothing. --out may be left out',
    },
    {
      flags: '--input-format <name>',
      about: 'how the jobs are written',
      choices: ['jsonl', 'json', 'yaml', 'csv'],
      usually: 'by the ending; jsonl on standard input',
    },
    { ...PROVIDER, about: 'whom to ask, where a job does not say' },
    { ...MODEL, about: 'the model, where a job does not say' },
    { ...SYSTEM, about: 'system prompt, where a job has none' },
    {
      flags: '--max-output-tokens <n>',
      about: 'at most so many tokens for each answer, where a job does not say; not --max-tokens, which ends the run',
      parse: wholeNumber(1),
    },
    TEMPERATURE,
    ENABLE_THINKING,
    MODE,
    BASE_URL,
    KEY_ENV,
    ...PLACES,
    {
      flags: '--output <template>',
      about: 'where an answer goes below the folder, with fields of its job in braces',
      usually: '{id}.txt, .json or .jsonl, by the format',
    },
    {
      flags: '--format <name>',
      about: 'text; json: one document an answer; events: every stream event, as JSON Lines',
      choices: ['text', 'json', 'events'],
      usually: 'text',
    },
    { flags: '--footer', about: 'end each file with a line on what made it' },
    {
      flags: '--publish-on <reasons>',
      about: 'finish reasons with which a file gets its name, with commas between them; others stay .partial',
      parse: finishReasons,
      usually: 'every reason',
      values: () => FINISHES,
    },
    {
      flags: '--if-exists <what>',
      about:
        'what to do about a file that is there and that no earlier run of this job has made; skip takes the job for done',
      choices: ['error', 'skip', 'overwrite'],
      usually: 'error',
    },
    { flags: '--fsync', about: 'wait until an answer is on the disk before it counts as complete (default)' },
    { flags: '--no-fsync', about: 'leave that to the system: faster on slow disks, and a power cut may cost answers' },
    {
      flags: '--concurrency <n>',
      about: 'jobs at once, in all; not with --queue',
      parse: wholeNumber(1),
      usually: '20',
    },
    {
      flags: '--per-host <n>',
      about: 'jobs at once at one host with one key; a rate limit lowers it for a while; not with --queue',
      parse: wholeNumber(1),
      usually: 'as --concurrency',
    },
    {
      flags: '--retries <n>',
      about:
        'how often a job is asked again in a row, without progress, before it has failed; refusals for its rate are counted apart, up to 50',
      parse: wholeNumber(0),
      usually: '10',
    },
    ...TIMEOUTS.map(([name, usually, about]) => ({
      flags: `--timeout-${name} <duration>`,
      about,
      parse: duration,
      usually,
    })),
    {
      flags: '--max-cost <amount>',
      about:
        'begin no more jobs once so much is spent, in the provider’s currency; those running are finished; a cost that a provider does not tell is not counted',
      parse: amount,
    },
    {
      flags: '--max-tokens <n>',
      about: 'begin no more jobs once so many tokens are used, of questions and answers together',
      parse: wholeNumber(1),
    },
    QUEUE,
    QUEUE_NAME,
    {
      flags: '--queue-folder <path>',
      about: 'where --out is below the folder that the workers have as --out, such as june/letters',
      usually: 'it is that folder',
    },
    {
      flags: '--json',
      about: 'print what happens as lines of JSON; a reader that goes away does not end the run',
      conflicts: ['plain'],
    },
    { flags: '--plain', about: 'print lines for a log, also on a terminal' },
    CONFIG,
  ],
  sections: [
    {
      title: 'Jobs',
      lines: [
        'A job is an object with an id, a prompt or the provider’s own request, and perhaps provider, mode, model, system,',
        'maxTokens (of its answer), temperature and the other names of the flags above, format and output; what else it has is for',
        'the template. What it leaves out comes from the defaults at the top of its file (JSON and YAML: defaults and jobs; JSON',
        'Lines: {"defaults": {…}} as the first line), then from the flags, then from the config file. All jobs are checked before',
        'one is asked; a mistake is told with its line.',
      ],
    },
    {
      title: 'Going on',
      lines: [
        'A journal in the folder records every job. After a crash, a power cut or Ctrl-C the same command goes on: finished jobs are',
        'not asked again, interrupted ones are gone on with where the API allows it. A file has its final name only when its',
        'answer is whole. Ctrl-C takes no more jobs and finishes those running, a second one stops them, a third leaves at once.',
      ],
    },
    {
      title: 'Limits',
      lines: [
        '--max-tokens and --max-cost are budgets of the whole run, which they stop cleanly, to be gone on with. The limit of a',
        'single answer is --max-output-tokens. A <duration> is 30s, 500ms, 2m or 1h; a bare number is in seconds; none is no limit.',
      ],
    },
    {
      title: 'A queue',
      lines: [
        'With --queue this process asks nothing: it puts the jobs into a queue in Redis, millrace worker does them on any number of machines,',
        'and it follows what becomes of them, into the same report. It needs npm install bullmq ioredis. A job is in a queue once, whoever',
        'puts it there: the same command on another machine follows the same jobs, and after a crash it goes on. Jobs bring their own settings; keys stay with',
        'the workers, and what is finished and which files are in the way they know. Ctrl-C takes back the jobs that nobody has begun and follows the others to their end; a',
        'second one leaves at once, and the workers finish what they have begun.',
      ],
    },
    PROVIDERS_SECTION,
    PROVIDER_NOTES,
  ],
  examples: [
    { line: 'millrace run jobs.jsonl --out answers --dry-run', does: 'are they right? Nothing is asked' },
    { line: 'millrace run jobs.jsonl --out answers', does: 'all of them; the same line goes on' },
    {
      line: `millrace run prompts.csv -o answers -p polargrid -m qwen-2.5-7b --output '{id}.md' --footer`,
      does: 'a table of prompts, one provider',
    },
    {
      line: 'millrace run jobs.yaml -o out --max-cost 5 --concurrency 50',
      does: 'no more than 5, in the provider’s currency',
    },
    {
      line: 'millrace run out/failed.jsonl -o out --retries 30 --timeout-first-content 15m',
      does: 'what has failed, with more patience',
    },
    {
      line: 'millrace run jobs.jsonl -o /mnt/answers --queue redis://queue.internal:6379',
      does: 'by the workers of a queue',
    },
    { line: `millrace run jobs.jsonl -o out --json | jq -c 'select(.type == "end")'`, does: 'for a program' },
  ],
  environment: [...KEY_VARIABLES, QUEUE_PASSWORD],
  files: [
    ['DIR/report.json, DIR/report.html', 'what became of each job: outcome, times, tokens, cost, retries'],
    ['DIR/failed.jsonl', 'the jobs that were begun and are not complete, ready to be run again'],
    ['DIR/.millrace/', 'the journal, and the lock of the run that is at work'],
    ['DIR/NAME.partial', 'an answer while it is made, and what came of one that was cut'],
    ...CONFIG_FILES,
  ],
  exitCodes: [
    ['0', 'every job is complete'],
    ['1', 'some jobs failed, or the run itself, such as on a full disk'],
    [
      '2',
      'bad input: jobs, flags, config file, files in the way, a folder that another run is at work in, or no Redis',
    ],
    ['130', 'stopped before its end: Ctrl-C, --max-cost, --max-tokens; the same command goes on'],
  ],
  action: async ([file], flags, context) => {
    if (flags.out === undefined && flags.dryRun !== true) {
      throw new UsageError('where do the answers go? Give --out DIR, or --dry-run to check the jobs only');
    }
    if (file === undefined && context.stdin.isTTY === true) {
      throw new UsageError('which jobs? Give a file, or - to type them (Ctrl-D ends them)');
    }
    const { run } = await import('../run/run.js'); // the readers of job files are for this alone
    return run(file ?? '-', flags, context);
  },
};
