import { StoreError } from '../errors.js';
import { isRecord } from '../protocol/errorBody.js';
import type { JobRecord, OpenJobJournal } from '../protocol/jobJournal.js';
import type { Commands } from '../redis/commands.js';
import type { Script } from '../redis/scripts.js';
import { lockKey, recordKey } from './names.js';

// A record is a hash: `f` how often the job was taken, `r` what is known of it, as JSON.

/** Whoever comes late, and has the job no more in BullMQ's eyes, must not take it from whoever has it. */
const TAKE: Script = {
  verb: 'take a job',
  source: `
if redis.call('GET', KEYS[2]) ~= ARGV[2] then return { false } end
local fence = redis.call('HINCRBY', KEYS[1], 'f', 1)
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return { tostring(fence), redis.call('HGET', KEYS[1], 'r') }
`,
};

/** Looks whether somebody has taken the job since, in the step that writes. */
const WRITE: Script = {
  verb: 'write down how far a job is',
  source: `
if redis.call('HGET', KEYS[1], 'f') ~= ARGV[1] then return { 0 } end
redis.call('HSET', KEYS[1], 'r', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return { 1 }
`,
};

const READ: Script = { verb: 'read how far a job is', source: `return { redis.call('HGET', KEYS[1], 'r') }` };

/** What is known of the jobs of a queue. */
export class JobRecords {
  readonly #commands: Commands;
  readonly #queue: string;
  readonly #keepMs: string;

  /** @param keepMs - how long after its last writing a record is kept */
  constructor(commands: Commands, queue: string, keepMs: number) {
    this.#commands = commands;
    this.#queue = queue;
    this.#keepMs = String(Math.ceil(keepMs));
  }

  /**
   * Takes a job that BullMQ has given out from whoever had it before: that one can write nothing down any more.
   * @param lock - BullMQ's token
   * @param holds - whether nobody else can have taken it since
   * @returns nothing where it is another's already
   */
  async take(id: string, lock: string, holds: () => boolean): Promise<TakenJob | undefined> {
    const keys = [recordKey(this.#queue, id), lockKey(this.#queue, id)];
    const [token, record] = await this.#commands.run(TAKE, keys, [this.#keepMs, lock]);
    if (typeof token !== 'string') return undefined;
    const write = async (text: string): Promise<boolean> => {
      const args = [token, text, this.#keepMs];
      const [isWritten] = await this.#commands.run(WRITE, [recordKey(this.#queue, id)], args);
      return isWritten === 1;
    };
    return new TakenJob(token, parse(record), { holds, write });
  }

  async read(id: string): Promise<JobRecord | undefined> {
    const [record] = await this.#commands.run(READ, [recordKey(this.#queue, id)], []);
    return parse(record);
  }
}

interface Lease {
  readonly holds: () => boolean;
  /** @returns false where another has taken the job */
  readonly write: (text: string) => Promise<boolean>;
}

/** The journal of one job, for as long as nobody else takes it. */
export class TakenJob implements OpenJobJournal {
  readonly token: string;
  readonly #holds: () => boolean;
  readonly #write: (text: string) => Promise<boolean>;
  #record: JobRecord | undefined;
  #isLost = false;

  constructor(token: string, record: JobRecord | undefined, lease: Lease) {
    this.token = token;
    this.#record = record;
    this.#holds = lease.holds;
    this.#write = lease.write;
  }

  /** Whether another has taken it, or could have when that was looked at. */
  get isLost(): boolean {
    return this.#isLost;
  }

  readonly holds = (): boolean => {
    if (!this.#holds()) this.#isLost = true;
    return !this.#isLost;
  };

  read(): Promise<JobRecord | undefined> {
    return Promise.resolve(this.#record);
  }

  async write(record: JobRecord): Promise<void> {
    if (!(await this.#write(JSON.stringify(record)))) {
      this.#isLost = true;
      throw new StoreError('lease-lost', `Another worker has taken the job ${JSON.stringify(record.key)}`);
    }
    this.#record = record;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** What is no record is taken as none: a job is rather asked again than lost. */
function parse(text: unknown): JobRecord | undefined {
  if (typeof text !== 'string') return undefined;
  try {
    const value: unknown = JSON.parse(text);
    if (isRecord(value) && typeof value['state'] === 'string') return value as unknown as JobRecord; // as TakenJob wrote it
  } catch {
    // As above.
  }
  return undefined;
}
