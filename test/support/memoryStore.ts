import {
  type LeaseOptions,
  type StoredEntry,
  type StoredPage,
  StoreError,
  type StreamLease,
  type StreamStore,
  type WriteReply,
} from 'millrace';

interface Stored {
  entries: StoredEntry[];
  token: number;
  note: string | undefined;
  leasedUntil: number;
  isClosed: boolean;
  isStopAsked: boolean;
  /** Who reads, and until when that counts; undefined where the writer does not want to know. */
  readers: Map<symbol, number> | undefined;
  readonly wake: Set<() => void>;
}

/** A store in this process's memory, for tests of what writes to one and reads from one. Its clock is the test's. */
export class MemoryStore implements StreamStore {
  readonly streams: Map<string, Stored> = new Map();
  /** Milliseconds. */
  now = 0;
  /** Fails everything, where it is set. */
  failure: Error | undefined;
  /** What a write waits for. */
  slow: Promise<void> = Promise.resolve();

  readonly #presenceMs: number;

  /**
   * @param clock - in place of a time that the test sets
   * @param presenceMs - a reader that does not say that it leaves has left so long after
   */
  constructor(clock?: () => number, presenceMs = 30_000) {
    this.#presenceMs = presenceMs;
    if (clock !== undefined) Object.defineProperty(this, 'now', { get: clock });
  }

  /** The process of those who read is killed: none of them says that it leaves. */
  killReaders(id: string): void {
    const readers = this.streams.get(id)?.readers;
    for (const reader of readers?.keys() ?? []) readers?.set(reader, this.now + this.#presenceMs);
  }

  /** Time goes on: leases may be over. */
  advance(ms: number): void {
    this.now += ms;
    for (const stream of this.streams.values()) this.#tell(stream);
  }

  lease(id: string, { ttlMs, watchesReaders = false }: LeaseOptions): Promise<StreamLease | 'taken' | 'closed'> {
    if (this.failure !== undefined) return Promise.reject(this.failure);
    const stream = this.streams.get(id) ?? newStream();
    this.streams.set(id, stream);
    if (stream.isClosed) return Promise.resolve('closed');
    if (stream.leasedUntil > this.now) return Promise.resolve('taken');
    stream.token += 1;
    stream.leasedUntil = this.now + ttlMs;
    stream.readers = watchesReaders ? (stream.readers ?? new Map()) : undefined;
    this.#tell(stream);
    const { token, note } = stream;
    const write = async (change: () => void): Promise<WriteReply> => {
      await this.slow;
      if (this.failure !== undefined) throw this.failure;
      if (stream.token !== token) throw new StoreError('lease-lost', 'another writer has it');
      change();
      stream.leasedUntil = this.now + ttlMs;
      this.#tell(stream);
      const reply = { position: stream.entries.at(-1)?.position ?? '', isStopAsked: stream.isStopAsked };
      const until = Math.max(...(stream.readers?.values() ?? []));
      return until <= this.now && until >= 0 ? { ...reply, unreadMs: this.now - until } : reply;
    };
    const add = (data: string): void => {
      const { entries } = stream;
      const position = `${String(entries.length + 1)}-${String(token)}`;
      entries.push({ position, previous: entries.at(-1)?.position ?? '', data });
    };
    return Promise.resolve({
      last: stream.entries.at(-1),
      note,
      append: (data) =>
        write(() => {
          for (const each of data) add(each);
        }),
      renew: (said) =>
        write(() => {
          stream.note = said ?? stream.note;
        }),
      close: async (data) => {
        await write(() => {
          add(data);
          stream.isClosed = true;
        });
      },
      release: () => {
        if (stream.token === token) stream.leasedUntil = 0;
        this.#tell(stream);
        return Promise.resolve();
      },
    });
  }

  read(id: string, after = ''): Promise<StoredPage> {
    if (this.failure !== undefined) return Promise.reject(this.failure);
    const stream = this.streams.get(id);
    if (stream === undefined) return Promise.resolve({ entries: [], state: 'missing' });
    const at = after === '' ? 0 : stream.entries.findIndex(({ position }) => position === after) + 1;
    if (after !== '' && at === 0) return Promise.resolve({ entries: [], state: 'trimmed' });
    return Promise.resolve({ entries: stream.entries.slice(at), state: this.#stateOf(stream) });
  }

  async *tail(id: string, after: string | undefined, signal: AbortSignal): AsyncIterable<StoredPage> {
    const reader = Symbol(id);
    const readersOf = (): Stored['readers'] => this.streams.get(id)?.readers;
    const leave = (): void => {
      const readers = readersOf();
      // One that was killed says nothing.
      if (readers?.get(reader) === Number.POSITIVE_INFINITY) readers.set(reader, this.now);
    };
    signal.addEventListener('abort', leave);
    try {
      yield* this.#pages(id, after, signal, () => {
        const readers = readersOf();
        if (readers?.has(reader) === false) readers.set(reader, Number.POSITIVE_INFINITY);
      });
    } finally {
      signal.removeEventListener('abort', leave);
      leave();
    }
  }

  async *#pages(
    id: string,
    after: string | undefined,
    signal: AbortSignal,
    looked: () => void,
  ): AsyncIterable<StoredPage> {
    let position = after;
    let told: StoredPage['state'] | undefined;
    for (;;) {
      const stream = this.streams.get(id);
      const page = await this.read(id, position);
      if (signal.aborted) return;
      looked();
      position = page.entries.at(-1)?.position ?? position;
      if (page.entries.length > 0 || page.state !== told) yield page;
      told = page.state;
      if (['closed', 'missing', 'trimmed'].includes(page.state) || stream === undefined) return;
      if (this.#stateOf(stream) !== told || stream.entries.at(-1)?.position !== position) continue;
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          stream.wake.delete(wake);
          signal.removeEventListener('abort', wake);
          resolve();
        };
        stream.wake.add(wake);
        signal.addEventListener('abort', wake);
      });
    }
  }

  stop(id: string): Promise<'asked' | 'closed' | 'missing'> {
    const stream = this.streams.get(id);
    if (stream === undefined) return Promise.resolve('missing');
    if (stream.isClosed) return Promise.resolve('closed');
    stream.isStopAsked = true;
    return Promise.resolve('asked');
  }

  close(): Promise<void> {
    for (const { readers } of this.streams.values()) {
      for (const reader of readers?.keys() ?? []) readers?.set(reader, Math.min(readers.get(reader) ?? 0, this.now));
    }
    return Promise.resolve();
  }

  #stateOf({ isClosed, leasedUntil }: Stored): StoredPage['state'] {
    if (isClosed) return 'closed';
    return leasedUntil > this.now ? 'open' : 'orphaned';
  }

  #tell({ wake }: Stored): void {
    for (const each of [...wake]) each();
  }
}

function newStream(): Stored {
  return {
    entries: [],
    token: 0,
    note: undefined,
    leasedUntil: 0,
    isClosed: false,
    isStopAsked: false,
    readers: undefined,
    wake: new Set(),
  };
}
