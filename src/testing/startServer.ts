import { requireAtLeast } from '../internal/require.js';
import type { Exchange } from './exchange.js';
import { Inbox } from './inbox.js';
import { listen } from './listen.js';

/** @public */
export interface StartServerOptions {
  /** The port on `127.0.0.1`. @defaultValue 0, a free one */
  readonly port?: number | undefined;
}

/** A server whose answers are written by the test, step by step. @public */
export interface TestServer extends AsyncDisposable {
  /** `http://127.0.0.1:PORT`, without a slash at the end. */
  readonly url: string;
  readonly port: number;
  /** Every request so far, in order of arrival, whether accepted or not. */
  readonly exchanges: readonly Exchange[];
  /** How many connections are open now. */
  connections(): number;
  /** The next request that was not accepted yet, waiting for it where none has come. Rejects when the server is closed. */
  accept(): Promise<Exchange>;
  /** Destroys all sockets; resolves when they are closed. May be called twice. */
  close(): Promise<void>;
}

/**
 * Starts a bare HTTP server for tests of stream clients: each request waits until the test answers it, byte by byte, and the
 * test can break the connection in every way a network can. It listens on `127.0.0.1` only and has no timeouts of its own.
 *
 * @example A reset in the middle of an event
 * ```ts
 * await using server = await startServer();
 * const reading = read(server.url);
 * const exchange = await server.accept();
 * await exchange.write('data: on');
 * exchange.reset();
 * await reading;
 * ```
 * @param options - see {@link StartServerOptions}
 * @returns the server, listening
 * @throws RangeError when `port` is negative or NaN
 * @public
 */
export async function startServer(options: StartServerOptions = {}): Promise<TestServer> {
  const { port = 0 } = options;
  requireAtLeast(0, { port });
  const exchanges: Inbox<Exchange> = new Inbox();
  const listener = await listen(port, (exchange) => {
    exchanges.add(exchange);
  });
  const close = (): Promise<void> => {
    exchanges.close();
    return listener.close();
  };
  return {
    url: listener.url,
    port: listener.port,
    exchanges: exchanges.all,
    connections: () => listener.connections(),
    accept: () => exchanges.take(),
    close,
    [Symbol.asyncDispose]: close,
  };
}
