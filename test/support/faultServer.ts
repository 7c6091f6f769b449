import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { type AddressInfo, createServer as createTCPServer, type Server, type Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { createServer as createTLSServer, type TlsOptions } from 'node:tls';

/** A request as it came, without what its body says. */
export interface WireRequest {
  readonly method: string;
  readonly target: URL;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly bodyBytes: number;
}

/** The answer to one request, written byte by byte: nothing stands between the test and the socket. */
export interface Wire {
  readonly request: WireRequest;
  /** Resolves when the bytes were handed to the system, or can reach nobody any more. */
  send(bytes: string | Uint8Array): Promise<void>;
  /** Resolves when the client has read all that was sent, or has left. */
  settle(): Promise<void>;
  /** Whether the client has closed its end. */
  isLeft(): boolean;
  /** RST. */
  reset(): void;
  /** FIN; the client may still send. */
  fin(): void;
  /** Resolves when the connection is closed on this side. */
  readonly closed: Promise<void>;
  /** Whether the client closed the connection, or keeps it for another request. Waits where it is to be closed. */
  connection(expected: Connection): Promise<Connection>;
}

/** What the client did with a connection. */
export type Connection = 'closed' | 'kept';

export type Play = (wire: Wire) => void | Promise<void>;

/** A server without any manners of its own. */
export interface FaultServer {
  readonly port: number;
  /** `http://127.0.0.1:PORT`, or `https://localhost:PORT`. */
  readonly url: string;
  /** How many connections are open now. */
  connections(): number;
  /** Rejects when an answer threw. */
  close(): Promise<void>;
}

/** The client's ends of all connections that undici has made in this process, by their ports. */
const clients: Map<string, Socket> = new Map();
/** Turns of the event loop in which a client that has read bytes has also parsed them and told what they say. */
const TURNS = 3;

function noteClient(message: unknown): void {
  const { socket } = message as { readonly socket: Socket }; // the channel's documented message
  const ports = `${String(socket.localPort)} ${String(socket.remotePort)}`;
  clients.set(ports, socket);
  socket.once('close', () => {
    if (clients.get(ports) === socket) clients.delete(ports);
  });
}

/** Starts to watch the client's sockets; what it returns ends that. */
export function watchClients(): () => void {
  subscribe('undici:client:connected', noteClient);
  return () => unsubscribe('undici:client:connected', noteClient);
}

/** How many connections the clients of this process hold now. */
export function openClients(): number {
  return clients.size;
}

/** The first byte of a connection that is to speak TLS. */
const TLS_HANDSHAKE = 0x16;

/** Lets whatever is ready happen. */
export async function turns(count: number = TURNS): Promise<void> {
  for (let i = 0; i < count; i += 1) await nextTurn();
}

/** Answers each request with `play`. With certificates it speaks TLS. */
export async function startFaultServer(play: Play, tls?: TlsOptions): Promise<FaultServer> {
  const sockets: Set<Socket> = new Set();
  const failures: unknown[] = [];
  const accept = (socket: Socket): void => {
    socket.setNoDelay(true);
    socket.on('error', () => undefined); // the client may leave as it likes
    serve(socket, async (wire) => {
      try {
        await play(wire);
      } catch (error) {
        failures.push(error);
      }
    });
  };
  const server: Server =
    tls === undefined
      ? createTCPServer({ allowHalfOpen: true }, accept)
      : createTLSServer({ ...tls, allowHalfOpen: true }, accept);
  server.on('tlsClientError', () => undefined); // refusing a certificate is what the client is asked to do
  return listen(server, sockets, failures, tls === undefined ? 'http://127.0.0.1' : 'https://localhost');
}

async function listen(
  server: Server,
  sockets: Set<Socket>,
  failures: readonly unknown[],
  origin = 'http://127.0.0.1',
): Promise<FaultServer> {
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined); // the client may leave as it likes
    socket.once('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo; // a TCP server has no pipe's name
  return {
    port,
    url: `${origin}:${String(port)}`,
    connections: () => sockets.size,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
      if (failures.length > 0) throw failures[0];
    },
  };
}

/** Takes connections and never says a word on them. */
export function startMuteServer(): Promise<FaultServer> {
  return listen(createTCPServer(), new Set(), []);
}

/** A port on which nobody listens. */
export async function closedPort(): Promise<number> {
  const server = await startFaultServer(() => undefined);
  await server.close();
  return server.port;
}

/** Reads one request after the other, however they are cut. */
function serve(socket: Socket, answer: (wire: Wire) => Promise<void>): void {
  let held = Buffer.alloc(0);
  let current: Wire | undefined;
  const closed: Promise<void> = new Promise((resolve) => {
    socket.once('close', () => {
      resolve();
    });
  });
  socket.on('data', (chunk) => {
    held = Buffer.concat([held, chunk]);
    if (held[0] === TLS_HANDSHAKE) socket.end('HTTP/1.1 400 Bad Request\r\n\r\n');
    for (;;) {
      const end = held.indexOf('\r\n\r\n');
      if (end < 0) return;
      const [first = '', ...lines] = held.toString('latin1', 0, end).split('\r\n');
      const [method = '', path = ''] = first.split(' ');
      const headers = Object.fromEntries(
        lines.map((line) => {
          const colon = line.indexOf(':');
          return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const;
        }),
      );
      const bodyBytes = Number(headers['content-length'] ?? 0);
      if (held.length < end + 4 + bodyBytes) return;
      held = held.subarray(end + 4 + bodyBytes);
      const request = { method, target: new URL(path, 'http://server'), headers, bodyBytes };
      const over = deferred();
      const wire = wireOf(socket, { closed, over: over.promise }, request, () => current);
      current = wire;
      over.resolve(answer(wire));
    }
  });
}

interface Deferred {
  readonly promise: Promise<void>;
  readonly resolve: (value: Promise<void>) => void;
}

function deferred(): Deferred {
  let resolve: Deferred['resolve'] = () => undefined;
  const promise = new Promise<void>((settle) => (resolve = settle));
  return { promise, resolve };
}

function wireOf(
  socket: Socket,
  { closed, over }: { readonly closed: Promise<void>; readonly over: Promise<void> },
  request: WireRequest,
  current: () => Wire | undefined,
): Wire {
  const client = clients.get(`${String(socket.remotePort)} ${String(socket.localPort)}`);
  const left = (): boolean => socket.destroyed || client?.destroyed !== false;
  const wire: Wire = {
    request,
    closed,
    isLeft: left,
    send: (bytes) =>
      new Promise((resolve) => {
        // In a turn of its own: whoever sends until the client has left waits for that.
        if (socket.destroyed || socket.writableEnded) setImmediate(resolve);
        else
          socket.write(bytes, () => {
            resolve();
          });
      }),
    settle: async () => {
      while (!left() && (client?.bytesRead ?? 0) < socket.bytesWritten) await nextTurn();
      await turns();
    },
    reset: () => {
      socket.resetAndDestroy();
    },
    fin: () => {
      socket.end();
    },
    connection: async (expected) => {
      if (client === undefined) return 'closed';
      if (expected === 'closed') {
        while (!client.destroyed && current() === wire) await nextTurn();
      } else {
        await over;
        await wire.settle();
      }
      // Whoever took it over has seen that it was kept.
      return client.destroyed && current() === wire ? 'closed' : 'kept';
    },
  };
  return wire;
}
