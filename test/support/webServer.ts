import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Server as NetServer, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

/** A server of a test's own, on a free port of 127.0.0.1; it is gone when the test is. */
export async function serveNode(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<{ readonly url: string; readonly port: number; readonly server: Server }> {
  return listenWith(createServer(answer));
}

/** Listens with a server of any framework that is one of Node's. */
export async function listenWith<S extends NetServer>(
  server: S,
): Promise<{ readonly url: string; readonly port: number; readonly server: S }> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  onTestFinished(
    () =>
      new Promise<void>((resolve) => {
        server.close(() => {
          resolve();
        });
        for (const socket of sockets) socket.destroy();
      }),
  );
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${String(port)}`, port, server };
}

/** A connection whose bytes are looked at one by one. */
export interface RawConnection {
  readonly socket: Socket;
  /** Everything that came so far. */
  readonly text: () => string;
  /** Each read from the network, as it came. */
  readonly reads: readonly string[];
  /** Resolves when what came holds this. */
  until(part: string): Promise<void>;
  /** Resolves when the connection is over; `'reset'` where it was broken. */
  readonly ended: Promise<'end' | 'reset'>;
}

/** Sends a request as text over a socket, and keeps what comes. */
export function sendRaw(port: number, request: string): RawConnection {
  const socket = connect(port, '127.0.0.1');
  socket.setEncoding('utf8');
  const reads: string[] = [];
  let text = '';
  const waiting = new Set<() => void>();
  socket.on('data', (read: string) => {
    reads.push(read);
    text += read;
    for (const look of [...waiting]) look();
  });
  const ended = new Promise<'end' | 'reset'>((resolve) => {
    let isReset = false;
    socket.on('error', () => {
      isReset = true;
    });
    socket.on('close', () => {
      resolve(isReset ? 'reset' : 'end');
      for (const look of [...waiting]) look();
    });
  });
  onTestFinished(() => {
    socket.destroy();
  });
  socket.write(request);
  return {
    socket,
    text: () => text,
    reads,
    ended,
    until: (part) =>
      new Promise<void>((resolve, reject) => {
        const look = (): void => {
          if (text.includes(part)) resolve();
          else if (socket.destroyed) reject(new Error(`The connection ended without ${JSON.stringify(part)}: ${text}`));
          else return;
          waiting.delete(look);
        };
        waiting.add(look);
        look();
      }),
  };
}

/** A GET request as it stands on the wire. */
export function rawGet(path = '/', headers: readonly string[] = [], version = '1.1'): string {
  return [`GET ${path} HTTP/${version}`, 'host: 127.0.0.1', ...headers, '', ''].join('\r\n');
}

/** The body of a chunked response, put together. */
export function dechunk(response: string): string {
  let rest = response.slice(response.indexOf('\r\n\r\n') + 4);
  let body = '';
  for (;;) {
    const at = rest.indexOf('\r\n');
    const size = Number.parseInt(rest.slice(0, at), 16);
    if (at < 0 || !(size > 0)) return body;
    // Sizes are in bytes; what is read as text has ASCII only here.
    body += rest.slice(at + 2, at + 2 + size);
    rest = rest.slice(at + 4 + size);
  }
}

/** The ids and the data of a body of server-sent events, in order. */
export function messagesOf(body: string): { readonly id: string | undefined; readonly data: unknown }[] {
  return body
    .split('\n\n')
    .filter((block) => /^data: /m.test(block))
    .map((block) => {
      const data = /^data: (.*)$/m.exec(block)?.[1] ?? '';
      return { id: /^id: (.*)$/m.exec(block)?.[1], data: data.startsWith('{') ? (JSON.parse(data) as unknown) : data };
    });
}
