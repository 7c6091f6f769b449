import type { OperatorFunction } from 'rxjs';
import type { SinkError } from '../errors.js';
import type { JobRecord } from '../protocol/jobJournal.js';
import type { FinishReason, Receipt, StreamEvent } from '../types.js';

/** Where the answers of a run go. */
export interface JobOutlet<Job> {
  /** Its name, for people. */
  readonly where: string;
  /**
   * Where a job's answer goes.
   * @param token - the run's, among all that have the same jobs; see `OpenJobJournal`
   */
  placeOf(job: Job, token: string | undefined): JobPlace;
}

/** Where one answer goes. */
export interface JobPlace {
  /** What there is to say of a job that an earlier run has finished; nothing where it must be asked. */
  finished(known: JobRecord, receipt: Receipt): Promise<Finished | undefined>;
  /** Removes what is left of a run that had the job before, and ended otherwise: before another is known to have it. */
  clear(known: JobRecord): void;
  sink(hooks: PlaceHooks): OperatorFunction<StreamEvent | string, Receipt>;
  /** Whether the answer is where it should be, though `beforePublish` was not called. */
  isTaken(receipt: Receipt): boolean;
}

export interface Finished {
  readonly receipt: Receipt;
  /** It has come to its end just now. */
  readonly isNew: boolean;
  /** Why it could not. */
  readonly error?: SinkError;
}

export interface PlaceHooks {
  /** The token of whoever had the job before. */
  readonly earlier: string | undefined;
  /** Runs when an answer is whole and durable, before it gets its name. */
  readonly beforePublish: (receipt: Receipt) => Promise<void>;
}

/** Gives each answer to a sink of its own, which knows by itself how to begin anew. */
export class JobSinks<Job> implements JobOutlet<Job> {
  readonly where = 'its sinks';
  readonly #sinkOf: (job: Job) => OperatorFunction<StreamEvent | string, Receipt>;
  readonly #publishOn: readonly FinishReason[] | undefined;

  constructor(
    sinkOf: (job: Job) => OperatorFunction<StreamEvent | string, Receipt>,
    publishOn: readonly FinishReason[] | undefined,
  ) {
    this.#sinkOf = sinkOf;
    this.#publishOn = publishOn;
  }

  placeOf(job: Job): JobPlace {
    return {
      finished: ({ state }, receipt) =>
        Promise.resolve(state === 'published' ? { receipt: { ...receipt, skipped: true }, isNew: false } : undefined),
      clear: () => undefined,
      sink: () => this.#sinkOf(job),
      isTaken: ({ outcome, finish }) => {
        if (outcome !== 'complete') return false;
        return this.#publishOn === undefined || (finish !== undefined && this.#publishOn.includes(finish.reason));
      },
    };
  }
}
