import { asyncScheduler, type SchedulerLike, type Subscription } from 'rxjs';
import type { StreamEvent } from '../../index.js';
import type { JobReceipt } from '../../sources/jobReceipt.js';
import type { Output } from '../context.js';
import type { ShownJob } from './fileJob.js';
import { type JobEntry, jobEntry } from './jobEntry.js';
import { type RunSummary, RunTally } from './runTally.js';
import type { GateNote, RunQueue, RunStart, RunView, StopStage } from './runView.js';

/** A line of `millrace run --json` and `millrace worker --json`. `at` is an ISO date; `job` is the id of a job. What is not known is not there, or `null`. */
export type RunLine = { readonly at: string } & (
  | {
      readonly type: 'run';
      readonly version: 1;
      /** `null`: a worker does not know how many are to come. */
      readonly jobs: number | null;
      readonly finished: number;
      readonly folder: string;
      /** Where there is one. */
      readonly queue?: RunQueue;
    }
  | {
      readonly type: 'start';
      readonly job: string;
      readonly line: number;
      readonly provider: string;
      readonly model?: string;
      /** Where its answer goes, in the folder. */
      readonly file: string;
    }
  | { readonly type: 'event'; readonly job: string; readonly event: StreamEvent }
  | { readonly type: 'retry'; readonly job: string; readonly why: string; readonly delayMs: number }
  | { readonly type: 'end'; readonly job: string; readonly entry: JobEntry }
  | {
      readonly type: 'gate';
      readonly name: string;
      /** `null`: any number may run at once. */
      readonly limit: number | null;
      /** How many where no rate limit has said otherwise. */
      readonly most?: number;
      readonly closedForMs: number;
    }
  | { readonly type: 'stop'; readonly stage: StopStage; readonly why: string }
  | { readonly type: 'note'; readonly text: string }
  | ({ readonly type: 'summary' } & { readonly [Name in keyof RunSummary]: Nullable<RunSummary[Name]> })
);

type Nullable<T> = undefined extends T ? Exclude<T, undefined> | null : T;

/** How a run's lines come. */
export interface JSONRunViewOptions {
  /** Milliseconds between two summaries, at least 1. @defaultValue 10,000 (chosen) */
  readonly summaryMs?: number | undefined;
  /** Whether the events of the answers are told, tokens and all. @defaultValue `'none'` */
  readonly events?: 'none' | 'all' | undefined;
  /** @defaultValue `asyncScheduler` */
  readonly scheduler?: SchedulerLike | undefined;
}

/**
 * Tells machines of a run: a JSON object on each line, see {@link RunLine}. `run` comes first; then `start`, `retry` and `end` of each
 * job, in the order in which they happen; `gate` when a rate limit closes a gate or changes it; `summary` every few seconds, and last.
 * There is no prompt in it and no key, and nothing of the answers unless `events` asks for it.
 *
 * ```text
 * {"type":"run","at":"…","version":1,"jobs":3,"finished":0,"folder":"out"}
 * {"type":"start","at":"…","job":"guide","line":1,"provider":"polargrid","model":"qwen-2.5-7b","file":"guide.md"}
 * {"type":"retry","at":"…","job":"guide","why":"HTTP 429","delayMs":2000}
 * {"type":"gate","at":"…","name":"polargrid api.polargrid.ai","limit":4,"closedForMs":2000}
 * {"type":"end","at":"…","job":"guide","entry":{"id":"guide","outcome":"complete","file":"guide.md","chars":812,…}}
 * {"type":"stop","at":"…","stage":"draining","why":"Ctrl-C"}
 * {"type":"note","at":"…","text":"…"}
 * {"type":"summary","at":"…","jobs":3,"done":1,"complete":1,"failed":0,"leftMs":null,"spent":{"cost":[],"costUnknown":1,…},…}
 * ```
 */
export function jsonRunView(output: Output, start: RunStart, options: JSONRunViewOptions = {}): RunView {
  return new JSONRunView(output, start, options);
}

class JSONRunView implements RunView {
  readonly #output: Output;
  readonly #scheduler: SchedulerLike;
  readonly #tellsEvents: boolean;
  readonly #tally: RunTally;
  readonly #timer: Subscription;

  constructor(
    output: Output,
    start: RunStart,
    { summaryMs = 10_000, events = 'none', scheduler = asyncScheduler }: JSONRunViewOptions,
  ) {
    this.#output = output;
    this.#scheduler = scheduler;
    this.#tellsEvents = events === 'all';
    this.#tally = new RunTally(start, scheduler);
    const { jobs = null, finished, folder, queue } = start;
    const opening = { type: 'run', at: this.#at(), version: 1, jobs, finished, folder } as const;
    this.#print({ ...opening, ...(queue !== undefined && { queue }) });
    const sumUp = (): void => {
      if (!output.writableNeedDrain) this.#sumUp();
    };
    this.#timer = scheduler.schedule(function () {
      sumUp();
      this.schedule(undefined, summaryMs);
    }, summaryMs);
  }

  start(job: ShownJob): void {
    this.#tally.start(job);
    const { id, line, out, options } = job;
    const { provider, model } = options;
    const named = { job: id, line, provider, ...(model !== undefined && { model }) };
    this.#print({ type: 'start', at: this.#at(), ...named, file: out });
  }

  show(job: ShownJob, event: StreamEvent): void {
    this.#tally.show(event);
    if (this.#tellsEvents) this.#print({ type: 'event', at: this.#at(), job: job.id, event });
  }

  retry(job: ShownJob, why: string, delayMs: number): void {
    this.#tally.retry();
    this.#print({ type: 'retry', at: this.#at(), job: job.id, why, delayMs });
  }

  end(receipt: JobReceipt<ShownJob>): void {
    this.#tally.end(receipt);
    this.#print({ type: 'end', at: this.#at(), job: receipt.job.id, entry: jobEntry(receipt.job, receipt) });
  }

  gate({ name, limit, most, closedForMs }: GateNote): void {
    this.#print({
      type: 'gate',
      at: this.#at(),
      name,
      limit: Number.isFinite(limit) ? limit : null,
      ...(most !== undefined && { most }),
      closedForMs,
    });
  }

  stop(stage: StopStage, why: string): void {
    this.#tally.stop();
    this.#print({ type: 'stop', at: this.#at(), stage, why });
  }

  say(line: string): void {
    this.#print({ type: 'note', at: this.#at(), text: line });
  }

  close(): void {
    this.#timer.unsubscribe();
    this.#sumUp();
  }

  #sumUp(): void {
    const { jobs = null, jobsPerMinute = null, charsPerSecond = null, leftMs = null, ...others } = this.#tally.read();
    this.#print({ type: 'summary', at: this.#at(), jobs, ...others, jobsPerMinute, charsPerSecond, leftMs });
  }

  #at(): string {
    return new Date(this.#scheduler.now()).toISOString();
  }

  #print(line: RunLine): void {
    // A reader that has left had what it wanted: the jobs go on.
    if (this.#output.writable) this.#output.write(`${JSON.stringify(line)}\n`);
  }
}
