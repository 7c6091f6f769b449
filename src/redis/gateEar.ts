import type { Redis } from 'ioredis';
import { asyncScheduler } from 'rxjs';
import { closeClient, isCluster, masterOf } from './client.js';
import type { Commands } from './commands.js';
import { isPassing } from './failure.js';

/** How long a connection, or an answer of it, may be late before it is given up. */
const LATE_MS = 5_000;
const FIRST_PAUSE_MS = 20;
const LONGEST_PAUSE_MS = 1_000;

/** Who hears what is published to a process. */
export interface Listener {
  readonly onNews: (text: string) => void;
  /** From here on nothing is missed; before, something may have been. */
  readonly onOpen: () => void;
  readonly onFailure: (error: unknown) => void;
}

/** One connection that is subscribed to the channel of this process. It is made anew when it is lost. */
export class GateEar {
  readonly #commands: Commands;
  readonly #channel: string;
  readonly #listener: Listener;
  #running: Promise<void> | undefined;
  #connection: Redis | undefined;
  /** When it was pinged, while there is no answer. */
  #pingedAt: number | undefined;

  constructor(commands: Commands, channel: string, listener: Listener) {
    this.#commands = commands;
    this.#channel = channel;
    this.#listener = listener;
  }

  open(): void {
    this.#running ??= this.#run();
  }

  /** To be called now and then: a connection that does not answer is given up. */
  check(): void {
    const connection = this.#connection;
    if (connection?.status !== 'ready') return;
    const now = asyncScheduler.now();
    if (this.#pingedAt !== undefined) {
      if (now - this.#pingedAt >= LATE_MS) void closeClient(connection);
      return;
    }
    this.#pingedAt = now;
    connection.ping().then(
      () => {
        this.#pingedAt = undefined;
      },
      () => undefined, // the connection's end is told by itself
    );
  }

  /** After the commands were closed. */
  async close(): Promise<void> {
    await this.#disconnect();
    await this.#running;
  }

  async #disconnect(): Promise<void> {
    const connection = this.#connection;
    this.#connection = undefined;
    if (connection !== undefined) await closeClient(connection);
  }

  async #run(): Promise<void> {
    let pauseMs = FIRST_PAUSE_MS;
    while (!this.#commands.isClosed) {
      try {
        const { ended } = await this.#connect();
        pauseMs = FIRST_PAUSE_MS;
        this.#listener.onOpen();
        await ended;
      } catch (error) {
        // Without a connection places are told by heartbeats, and those find out whether Redis is there.
        if (!isPassing(error, undefined) && !this.#commands.isClosed) {
          this.#listener.onFailure(this.#commands.failure('Redis could not be listened to', error));
        }
      }
      await this.#disconnect();
      await this.#commands.pause(pauseMs);
      pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS);
    }
  }

  /** @returns what resolves when the connection is lost, as soon as it is subscribed */
  async #connect(): Promise<{ readonly ended: Promise<void> }> {
    const client = await this.#commands.client();
    const server = isCluster(client)
      ? await this.#commands.try('find a server', () => masterOf(client, this.#channel))
      : client;
    if (this.#commands.isClosed) throw new Error('The gate is closed');
    const connection = server.duplicate({
      connectionName: 'millrace-gate',
      lazyConnect: true,
      enableOfflineQueue: true,
      retryStrategy: null,
      reconnectOnError: null,
      commandTimeout: undefined,
      // A connection that nobody publishes to is silent for as long as it should.
      socketTimeout: undefined,
      readOnly: false,
      monitor: false,
      enableAutoPipelining: false,
      // Channels are no keys; what the scripts publish to has no prefix of the client's.
      keyPrefix: '',
      protocol: 2,
      replyMapping: 'legacy',
    });
    this.#connection = connection;
    this.#pingedAt = undefined;
    const ended = new Promise<void>((resolve) => {
      connection.once('end', resolve);
    });
    // Told by its end; without a listener it would be written to the console.
    connection.on('error', () => undefined);
    connection.on('message', (_channel: string, text: string) => {
      this.#listener.onNews(text);
    });
    const timer = asyncScheduler.schedule(() => {
      void closeClient(connection);
    }, LATE_MS);
    try {
      await connection.connect();
      await connection.subscribe(this.#channel);
    } finally {
      timer.unsubscribe();
    }
    return { ended };
  }
}
