import { asyncScheduler, type SchedulerLike } from 'rxjs';
import { openRows } from '../../internal/node/terminal/openTerminal.js';
import { oneLine } from '../../internal/node/terminal/screenText.js';
import type { RowsView, ShownRow } from '../../internal/terminalView.js';
import type { StreamEvent } from '../../index.js';
import type { JobReceipt } from '../../sources/jobReceipt.js';
import type { TerminalOutput } from '../../internal/io.js';
import type { Colors } from '../context.js';
import type { ShownJob } from './fileJob.js';
import { drawFooter } from './runFooter.js';
import { GateBoard } from './gateBoard.js';
import { fileOf } from './jobOutcome.js';
import { RunTally } from './runTally.js';
import type { GateNote, RunStart, RunView, StopStage } from './runView.js';
import { startWords, stopWords } from './runWords.js';

/** How often the screen is drawn. */
const FRAMES_PER_SECOND = 10;
/** Lines of tasks' logs and of warnings: more than a person reads. */
const LOG_LINES_PER_SECOND = 20;

/** What a test may own. */
export interface LiveRunViewOptions {
  /** @defaultValue `asyncScheduler` */
  readonly scheduler?: SchedulerLike | undefined;
}

/**
 * Shows a run on a terminal: a row for each job that runs, as `toTerminal` draws them, and the run as a whole below: a bar, how many
 * jobs are done, how fast, what they cost so far, how long it still takes, and which rate limit holds it up. How a job ended is
 * printed above the rows and stays. Drawn ten times a second at most; a terminal that is slow is given fewer frames. Once the
 * terminal is lost it says nothing more.
 */
export function liveRunView(
  output: TerminalOutput,
  start: RunStart,
  colors: Colors,
  { scheduler = asyncScheduler }: LiveRunViewOptions = {},
): RunView {
  return new LiveRunView(output, start, colors, scheduler);
}

class LiveRunView implements RunView {
  readonly #start: RunStart;
  readonly #colors: Colors;
  readonly #tally: RunTally;
  readonly #gates: GateBoard;
  readonly #rows: RowsView;
  /** By the file that a job writes, which no other does. */
  readonly #running: Map<string, ShownRow> = new Map();
  #stop: string | undefined;

  constructor(output: TerminalOutput, start: RunStart, colors: Colors, scheduler: SchedulerLike) {
    this.#start = start;
    this.#colors = colors;
    this.#tally = new RunTally(start, scheduler);
    this.#gates = new GateBoard(scheduler);
    this.#rows = openRows({
      output,
      scheduler,
      hasColors: colors.isColorSupported,
      maxFramesPerSecond: FRAMES_PER_SECOND,
      maxRows: undefined,
      maxLogLinesPerSecond: LOG_LINES_PER_SECOND,
      footer: (columns, room) => {
        const facts = { summary: this.#tally.read(), gates: this.#gates.limiting(), stop: this.#stop };
        return drawFooter(facts, columns, room, colors);
      },
      // Whoever reads the outcome finds it in the report; the jobs go on.
      onError: () => undefined,
    });
    this.say(startWords(start));
  }

  start(job: ShownJob): void {
    this.#tally.start(job);
    this.#rowOf(job);
  }

  show(job: ShownJob, event: StreamEvent): void {
    this.#tally.show(event);
    this.#rowOf(job).take(event);
  }

  retry(job: ShownJob, _why: string, _delayMs: number): void {
    this.#tally.retry();
    this.#rowOf(job).retry();
  }

  end(receipt: JobReceipt<ShownJob>): void {
    const { job } = receipt;
    const isNews = this.#tally.end(receipt);
    if (isNews) this.#rowOf(job).end(receipt, fileOf(receipt));
    this.#running.delete(job.out);
  }

  gate(note: GateNote): void {
    this.#gates.take(note);
  }

  stop(stage: StopStage, why: string): void {
    this.#tally.stop();
    this.#stop = stopWords(stage, why, this.#start.queue?.role);
    this.#rows.print([this.#colors.yellow(this.#stop)]);
  }

  say(line: string): void {
    this.#rows.print([oneLine(line)]);
  }

  close(): void {
    this.#rows.close();
  }

  #rowOf(job: ShownJob): ShownRow {
    const row = this.#running.get(job.out) ?? this.#rows.add(job.id);
    this.#running.set(job.out, row);
    return row;
  }
}
