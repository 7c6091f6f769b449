import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { createExchange, type Exchange } from './exchange.js';

/** Requests larger than this are refused with 413. */
const MAX_REQUEST_BYTES = 64 * 1024 * 1024;

/** A listening server. */
export interface Listener {
  readonly port: number;
  readonly url: string;
  /** How many connections are open now. */
  connections(): number;
  /** Destroys every socket; resolves when they are closed and every handler has returned. */
  close(): Promise<void>;
}

/** Listens on `127.0.0.1` and hands over each request once its body has been read. */
export async function listen(
  port: number,
  onExchange: (exchange: Exchange) => void | Promise<void>,
  now: () => number = Date.now,
): Promise<Listener> {
  const closings: Map<Socket, Promise<void>> = new Map();
  const running: Set<Promise<void>> = new Set();

  const server = createServer((message, response) => {
    const work = handle(message, response).finally(() => running.delete(work));
    running.add(work);
  });
  // Time belongs to whoever drives the server: it never closes a connection by itself.
  server.keepAliveTimeout = 0;
  server.requestTimeout = 0;
  server.headersTimeout = 0;
  server.on('connection', (socket: Socket) => {
    const closed: Promise<void> = new Promise((resolve) => {
      socket.once('close', () => {
        closings.delete(socket);
        resolve();
      });
    });
    closings.set(socket, closed);
  });

  async function handle(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const closed = closings.get(message.socket) ?? Promise.resolve();
    const body = await readBody(message);
    if (body === undefined) return; // The client left before its request was whole: there is nobody to answer.
    if (body === 'too large') {
      response.writeHead(413, { connection: 'close' }).end();
      return;
    }
    await onExchange(createExchange({ message, response, body: body.toString('utf8'), at: now(), closed }));
  }

  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  // A TCP server has an AddressInfo, never a pipe's name.
  const address = server.address() as AddressInfo;

  let closing: Promise<void> | undefined;
  return {
    port: address.port,
    url: `http://127.0.0.1:${String(address.port)}`,
    connections: () => closings.size,
    close: () =>
      (closing ??= (async () => {
        const closed = once(server, 'close');
        server.close();
        const sockets = [...closings];
        for (const [socket] of sockets) socket.destroy();
        await closed;
        await Promise.all(sockets.map(([, gone]) => gone));
        await Promise.allSettled(running);
      })()),
  };
}

async function readBody(message: IncomingMessage): Promise<Buffer | 'too large' | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    // Without an encoding a request is a stream of buffers; its declared iterator says `any`.
    for await (const chunk of message as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes <= MAX_REQUEST_BYTES) chunks.push(chunk); // What is too much is read on, so that the 413 can be.
    }
  } catch {
    return undefined; // Aborted by the client, which is the one who knows why.
  }
  return bytes > MAX_REQUEST_BYTES ? 'too large' : Buffer.concat(chunks);
}
