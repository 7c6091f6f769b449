import { asyncScheduler, type SchedulerLike, type Subscription } from 'rxjs';
import { counted, duration, grouped } from '../../internal/node/terminal/measures.js';
import { oneLine } from '../../internal/node/terminal/screenText.js';
import type { StreamEvent } from '../../index.js';
import type { JobReceipt } from '../../sources/jobReceipt.js';
import type { Output } from '../context.js';
import type { ShownJob } from './fileJob.js';
import { GateBoard, gateWords } from './gateBoard.js';
import { fileOf, outcomeOf, reasonOf } from './jobOutcome.js';
import { RunTally } from './runTally.js';
import type { GateNote, RunStart, RunView, StopStage } from './runView.js';
import { leftWords, startWords, stopWords, summaryWords, usageWords } from './runWords.js';

/** How a run's lines come. */
export interface PlainRunViewOptions {
  /** Milliseconds between two lines on the run as a whole, at least 1. @defaultValue 10,000 (chosen) */
  readonly summaryMs?: number | undefined;
  /** @defaultValue `asyncScheduler` */
  readonly scheduler?: SchedulerLike | undefined;
}

/**
 * Shows a run as lines, for a pipe or the log of a CI job: when a job ends, when it is asked again, when a rate limit closes a gate,
 * and every few seconds how the run as a whole stands. Each line begins with the time since the run began and a word for what it is. No
 * escape codes, and no control characters from outside. A line waits where its reader is slow; one on the whole is left out then.
 */
export function plainRunView(output: Output, start: RunStart, options: PlainRunViewOptions = {}): RunView {
  return new PlainRunView(output, start, options);
}

/** As wide as the longest word. */
const WORD = 11;

class PlainRunView implements RunView {
  readonly #output: Output;
  readonly #start: RunStart;
  readonly #tally: RunTally;
  readonly #gates: GateBoard;
  readonly #timer: Subscription;

  constructor(
    output: Output,
    start: RunStart,
    { summaryMs = 10_000, scheduler = asyncScheduler }: PlainRunViewOptions,
  ) {
    this.#output = output;
    this.#start = start;
    this.#tally = new RunTally(start, scheduler);
    this.#gates = new GateBoard(scheduler);
    this.#print('run', startWords(start));
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
  }

  show(_job: ShownJob, event: StreamEvent): void {
    this.#tally.show(event);
  }

  retry(job: ShownJob, why: string, delayMs: number): void {
    this.#tally.retry();
    this.#print('again', `${job.id}  in ${duration(delayMs)}: ${why}`);
  }

  end(receipt: JobReceipt<ShownJob>): void {
    if (this.#tally.end(receipt)) this.#print(outcomeOf(receipt), endWords(receipt));
  }

  gate(note: GateNote): void {
    if (this.#gates.take(note)) this.#print('gate', `${note.name}: ${gateWords(note)}`);
  }

  stop(stage: StopStage, why: string): void {
    this.#tally.stop();
    this.#print(stage, stopWords(stage, why, this.#start.queue?.role));
  }

  say(line: string): void {
    this.#print('note', line);
  }

  close(): void {
    this.#timer.unsubscribe();
    this.#sumUp();
  }

  #sumUp(): void {
    const summary = this.#tally.read();
    const { jobs, done, running, leftMs } = summary;
    const [limit] = this.#gates.limiting();
    const words = [
      jobs === undefined ? `${counted(done, 'job')} done` : `${grouped(done)} of ${counted(jobs, 'job')} done`,
      ...(running > 0 ? [`${grouped(running)} running`] : []),
      ...summaryWords(summary),
      ...(jobs !== undefined && done < jobs ? [leftWords(leftMs)] : []),
      ...(limit === undefined ? [] : [`gate ${limit.name}: ${gateWords(limit)}`]),
    ];
    this.#print('run', words.join(', '));
  }

  #print(word: string, text: string): void {
    // A reader that has left had what it wanted: the jobs go on.
    if (!this.#output.writable) return;
    this.#output.write(`${clock(this.#tally.elapsedMs)}  ${word.padEnd(WORD)}  ${oneLine(text)}\n`);
  }
}

/** What is told of a job that has ended, in one line. */
function endWords(receipt: JobReceipt<ShownJob>): string {
  const { job, outcome, finish, chars, timings, attempts, runs } = receipt;
  const isWhole = outcomeOf(receipt) === 'complete';
  const file = fileOf(receipt);
  const facts = [
    counted(chars, 'char'),
    timings.firstContentMs === undefined ? 'no content' : `first ${duration(timings.firstContentMs)}`,
    `total ${duration(timings.totalMs)}`,
    ...usageWords(receipt.usage),
    attempts > 1 ? counted(attempts, 'attempt') : '',
    runs > 1 ? counted(runs, 'run') : '',
    outcome === 'complete' && finish !== undefined && finish.reason !== 'stop' ? `finish ${finish.reason}` : '',
  ].filter((fact) => fact !== '');
  const why = isWhole ? '' : `: ${reasonOf(receipt).message}`;
  return `${job.id}  ${facts.join(', ')}${file === undefined ? '' : ` -> ${file}`}${why}`;
}

/** `0:00:12`: of the same width for ten hours. */
function clock(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const two = (value: number): string => String(value).padStart(2, '0');
  return `${String(Math.floor(seconds / 3600))}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
}
