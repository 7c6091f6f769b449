import type { JobReceipt } from '../../sources/jobReceipt.js';
import type { StreamEvent } from '../../index.js';
import type { ShownJob } from './fileJob.js';

/** What a run is, when it begins. */
export interface RunStart {
  /** All jobs of the file; `undefined` for a worker, who does not know what is to come. */
  readonly jobs: number | undefined;
  /** Those of them that an earlier run has completed. Their receipts, which say `skipped`, may be told to `end` and count once. */
  readonly finished: number;
  /** Where the answers go. */
  readonly folder: string;
  /** The queue that the jobs are put into, or taken from; absent where they are done here. */
  readonly queue?: RunQueue | undefined;
}

/** The queue of a run. */
export interface RunQueue {
  readonly name: string;
  /** Where it is, without credentials. */
  readonly url: string;
  /** `follower`: the jobs are put into it, and others do them. `worker`: they are taken out of it, and done here. */
  readonly role: 'follower' | 'worker';
}

/** How a run ends before its time: what runs goes on, is stopped, or is left to others. */
export type StopStage = 'draining' | 'stopping' | 'leaving';

/** How a rate limit's gate stands. */
export interface GateNote {
  /** The key of the gate: provider and host. */
  readonly name: string;
  /** Streams that may run at once now. */
  readonly limit: number;
  /** How many may run where no rate limit has said otherwise: an open gate that lets so many through limits nobody. */
  readonly most?: number | undefined;
  /** Milliseconds until it opens; 0 where it is open. */
  readonly closedForMs: number;
}

/** How `millrace run` and `millrace worker` show what they do. Every method may be called at any time between making it and `close`. */
export interface RunView {
  /** A job is asked, or gone on with after an earlier run. */
  start(job: ShownJob): void;
  /** Shows an event of its stream. */
  show(job: ShownJob, event: StreamEvent): void;
  /** A job is asked again: why, and after what pause. */
  retry(job: ShownJob, why: string, delayMs: number): void;
  /** A job has ended, well or not. */
  end(receipt: JobReceipt<ShownJob>): void;
  /** A rate limit closed a gate, or changed how many it lets through. */
  gate(note: GateNote): void;
  /** No more jobs are taken, and why. */
  stop(stage: StopStage, why: string): void;
  /** Says something to the person, on a line of its own. */
  say(line: string): void;
  /** Gives the terminal back. Called once, whatever happened. */
  close(): void;
}
