import type { Receipt } from '../types.js';

/**
 * How far a job has come. `begun`: it is asked, or was when its run was killed. `written`: its answer is complete and durable under
 * another name. `published`: it has its name. `ended`: it ended otherwise, and is run again with the next run.
 * @public
 */
export type JobState = 'begun' | 'written' | 'published' | 'ended';

/** What is known of a job. @public */
export interface JobRecord {
  readonly key: string;
  readonly state: JobState;
  /** How often it was begun. */
  readonly runs: number;
  /** Work that was created for it and may be running, in the provider's own name. */
  readonly workId?: string | undefined;
  /** Its last one: from `written` on, and where it ended otherwise. */
  readonly receipt?: Receipt | undefined;
  /** The `token` of the run that wrote its file; see {@link OpenJobJournal}. */
  readonly token?: string | undefined;
}

/** A journal that one run has to itself. @public */
export interface OpenJobJournal {
  /**
   * Where the files are shared by runs that know nothing of each other but through the journal: names this one among all that had the same
   * job. Its unfinished files are `<file>.<token>.partial`, so that one that sleeps and goes on late meets no other's.
   * @defaultValue the folder is this run's alone
   */
  readonly token?: string | undefined;
  /**
   * Whether the job is this run's still, for all that is known here; looked at before each request, which is not sent otherwise.
   * @defaultValue it is
   */
  readonly holds?: (() => boolean) | undefined;
  /** What was written of a job last; undefined where nothing was. */
  read(key: string): Promise<JobRecord | undefined>;
  /**
   * Keeps a record in the place of the job's last one. Resolves when it outlives this process and, where it is to be `durable`, this
   * machine's power. Records of one job come one after the other, those of different jobs at the same time.
   */
  write(record: JobRecord, options: { readonly durable: boolean }): Promise<void>;
  /** Lets others have it. Called once, after the last write. */
  close(): Promise<void>;
}

/** Where `runJobs` keeps what it knows of its jobs, so that another run goes on from there. See `fileJournal`. @public */
export interface JobJournal {
  /** Takes it for one run. Rejects, saying who has it, where another run does. */
  open(): Promise<OpenJobJournal>;
}
