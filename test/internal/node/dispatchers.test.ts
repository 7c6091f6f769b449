import { once } from 'node:events';
import { createServer as createHTTPServer } from 'node:http';
import { createSecureServer, type Http2SecureServer, type ServerHttp2Stream } from 'node:http2';
import { createRequire } from 'node:module';
import type { AddressInfo, Server, Socket } from 'node:net';
import { join } from 'node:path';
import process from 'node:process';
import { createServer as createTLSServer } from 'node:tls';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { lastValueFrom } from 'rxjs';
import type { Dispatcher } from 'undici';
import { afterEach, describe, expect, it } from 'vitest';
import { HTTPError, InterruptedError, isRetryable } from '../../../src/errors.js';
import { decode } from '../../../src/operators/decode.js';
import { parseSSE } from '../../../src/operators/parseSSE.js';
import { toTokens } from '../../../src/operators/toTokens.js';
import { chatDialect } from '../../../src/providers/index.js';
import { asyncIterableFrom } from '../../../src/sinks/asyncIterableFrom.js';
import { fromHTTP } from '../../../src/sources/fromHTTP.js';
import { selfSigned } from '../../support/faultCertificate.js';

/** What is used of undici, whichever it is. */
interface Undici {
  readonly Agent: new (options: object) => Dispatcher;
}

// The library's own undici, and where `npm run engines` names one, the other major version beside it.
const require = createRequire(import.meta.url);
const other = process.env['MILLRACE_OTHER_UNDICI'];
const engines = ['undici', ...(other === undefined ? [] : [other])].map((name) => {
  const { version } = require(join(name, 'package.json')) as { readonly version: string };
  return { version, major: Number.parseInt(version, 10), undici: require(name) as Undici };
});

const tls = selfSigned('localhost');
const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function listen(server: Server | Http2SecureServer): Promise<number> {
  const sockets: Set<Socket> = new Set();
  server.on('connection', (socket: Socket) => sockets.add(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  });
  return (server.address() as AddressInfo).port;
}

// Frames of HTTP/2 (RFC 9113, 4.1 and 6), since Node's own server ends a stream (END_STREAM) before it resets it.
const TYPE = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goaway: 7 };
const END_STREAM = 1;
const ACK = 1;
const END_HEADERS = 4;
function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.set([type, flags], 3);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}
function numbers(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, i) => bytes.writeUInt32BE(value, 4 * i));
  return bytes;
}
/** A literal field without indexing, its name from HPACK's static table (RFC 7541, 6.2.2 and appendix A). */
function field(index: number, value: string): Buffer {
  return Buffer.concat([Buffer.from([0x0f, index - 15, value.length]), Buffer.from(value)]);
}
const STATUS_200 = Buffer.from([0x88]);
const CONTENT_ENCODING = 26;
const CONTENT_LENGTH = 28;
const CONTENT_TYPE = 31;

/** One request, answered frame by frame. */
class Exchange {
  readonly socket: Socket;
  readonly id: number;
  /** The code with which the client gave the stream up. */
  readonly wasReset: Promise<number>;

  constructor(socket: Socket, id: number, resets: Map<number, (code: number) => void>) {
    this.socket = socket;
    this.id = id;
    this.wasReset = new Promise((resolve) => resets.set(id, resolve));
  }

  send(...frames: readonly Buffer[]): void {
    this.socket.write(Buffer.concat(frames));
  }
  head(...fields: readonly Buffer[]): Buffer {
    const block = Buffer.concat([STATUS_200, field(CONTENT_TYPE, 'text/event-stream'), ...fields]);
    return frame(TYPE.headers, END_HEADERS, this.id, block);
  }
  data(bytes: string | Uint8Array, flags = 0): Buffer {
    return frame(TYPE.data, flags, this.id, Buffer.from(bytes));
  }
  reset(code: number): Buffer {
    return frame(TYPE.reset, 0, this.id, numbers(code));
  }
  /** @param last - the last stream that the server looked at */
  goAway(code: number, last = this.id): Buffer {
    return frame(TYPE.goaway, 0, 0, numbers(last, code));
  }
}

interface FrameServer {
  readonly url: string;
  readonly connections: () => number;
  accept(): Promise<Exchange>;
}

async function serveFrames(): Promise<FrameServer> {
  const arrived: Exchange[] = [];
  const waiting: ((exchange: Exchange) => void)[] = [];
  let connections = 0;
  const server = createTLSServer({ ...tls, ALPNProtocols: ['h2'] }, (socket) => {
    connections += 1;
    const resets: Map<number, (code: number) => void> = new Map();
    let unread = Buffer.alloc(0);
    let preface = 24;
    socket.on('error', () => undefined); // the client may leave as it likes
    socket.write(frame(TYPE.settings, 0, 0, Buffer.alloc(0)));
    socket.on('data', (chunk: Buffer) => {
      unread = Buffer.concat([unread, chunk]);
      if (unread.length < preface) return;
      unread = unread.subarray(preface);
      preface = 0;
      while (unread.length >= 9 && unread.length >= 9 + unread.readUIntBE(0, 3)) {
        const [type, flags] = [unread[3], unread[4] ?? 0];
        const id = unread.readUInt32BE(5);
        const payload = unread.subarray(9, 9 + unread.readUIntBE(0, 3));
        unread = unread.subarray(9 + payload.length);
        if (type === TYPE.settings && flags !== ACK) socket.write(frame(type, ACK, 0, Buffer.alloc(0)));
        else if (type === TYPE.ping && flags !== ACK) socket.write(frame(type, ACK, 0, payload));
        else if (type === TYPE.reset) resets.get(id)?.(payload.readUInt32BE(0));
        else if (type === TYPE.headers) {
          const exchange = new Exchange(socket, id, resets);
          const taker = waiting.shift();
          if (taker === undefined) arrived.push(exchange);
          else taker(exchange);
        }
      }
    });
  });
  const port = await listen(server);
  return {
    url: `https://127.0.0.1:${String(port)}/`,
    connections: () => connections,
    accept: () => {
      const exchange = arrived.shift();
      return exchange === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(exchange);
    },
  };
}

/** Reads like a careful caller: a body that is not proven whole is an error. */
class Reader {
  text = '';
  readonly end: Promise<unknown>;
  readonly #begun: Promise<void>;
  #begin: () => void = () => undefined;

  constructor(url: string, dispatcher: Dispatcher) {
    this.#begun = new Promise((resolve) => (this.#begin = resolve));
    const read = async (): Promise<string> => {
      for await (const chunk of asyncIterableFrom(fromHTTP(url, { dispatcher, method: 'POST', body: '{}' }))) {
        this.text += Buffer.from(chunk).toString();
        this.#begin();
      }
      return 'whole';
    };
    this.end = read().catch((error: unknown) => error);
  }

  /** Something was read. */
  get begun(): Promise<void> {
    return this.#begun;
  }
}

async function expectCut(reader: Reader, during: 'headers' | 'body', text = ''): Promise<void> {
  const end = await reader.end;
  expect(end).toBeInstanceOf(InterruptedError);
  expect(end).toMatchObject({ during });
  expect(isRetryable(end)).toBe(true);
  expect(reader.text).toBe(text);
}

describe.each(engines)('a dispatcher of undici $version', ({ major, undici }) => {
  function agent(): Dispatcher {
    const dispatcher = new undici.Agent({ allowH2: true, connect: { ca: tls.cert, servername: 'localhost' } });
    closing.unshift(() => dispatcher.destroy());
    return dispatcher;
  }

  describe('over HTTP/1.1', () => {
    async function serve(
      answer: (socket: Socket) => void,
    ): Promise<{ readonly url: string; readonly left: Promise<void> }> {
      let leave: () => void = () => undefined;
      const left = new Promise<void>((resolve) => (leave = resolve));
      const server = createHTTPServer(({ socket }) => {
        socket.on('close', leave);
        answer(socket);
      });
      return { url: `http://127.0.0.1:${String(await listen(server))}/`, left };
    }
    const head = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n';

    it('reads a body to its end', async () => {
      const { url } = await serve((socket) => socket.write(`${head}3\r\nabc\r\n0\r\n\r\n`));
      const reader = new Reader(url, agent());
      expect(await reader.end).toBe('whole');
      expect(reader.text).toBe('abc');
    });

    it('sees a body cut', async () => {
      const { url } = await serve((socket) => socket.end(`${head}3\r\nabc\r\n3\r\nd`));
      const reader = new Reader(url, agent());
      expect(await reader.end).toBeInstanceOf(InterruptedError);
      expect(reader.text).toBe('abcd');
    });

    it('closes the connection when the reader leaves', async () => {
      const { url, left } = await serve((socket) => socket.write(`${head}3\r\nabc\r\n`));
      for await (const chunk of asyncIterableFrom(fromHTTP(url, { dispatcher: agent() }))) {
        expect(Buffer.from(chunk).toString()).toBe('abc');
        break;
      }
      await left;
    });
  });

  describe('over HTTP/2', () => {
    it('reads a body to its end', async () => {
      const server = await serveFrames();
      const reader = new Reader(server.url, agent());
      const exchange = await server.accept();
      exchange.send(exchange.head(), exchange.data('abc'));
      await reader.begun;
      exchange.send(exchange.data('def', END_STREAM));
      expect(await reader.end).toBe('whole');
      expect(reader.text).toBe('abcdef');
    });

    it('reads a body that comes in one piece with its end', async () => {
      const server = await serveFrames();
      const reader = new Reader(server.url, agent());
      const exchange = await server.accept();
      exchange.send(exchange.head(), exchange.data('abc'), exchange.data('', END_STREAM), exchange.reset(0));
      expect(await reader.end).toBe('whole');
      expect(reader.text).toBe('abc');
    });

    it('lets a reset without an error pass for the end, which a format with an end of its own does not believe', async () => {
      const server = await serveFrames();
      const answer = fromHTTP(server.url, { dispatcher: agent() }).pipe(parseSSE(), decode(chatDialect()), toTokens());
      const end = lastValueFrom(answer).catch((error: unknown) => error);
      const exchange = await server.accept();
      const event = `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: 'abc' } }] })}\n\n`;
      exchange.send(exchange.head(), exchange.data(event), exchange.reset(0));
      expect(await end).toMatchObject({ name: 'InterruptedError', received: { text: 'abc' } });
    });

    it('is cut by a reset without an error short of its length', async () => {
      const server = await serveFrames();
      const reader = new Reader(server.url, agent());
      const exchange = await server.accept();
      exchange.send(exchange.head(field(CONTENT_LENGTH, '9')), exchange.data('abc'));
      await reader.begun;
      exchange.send(exchange.reset(0));
      await expectCut(reader, 'body', 'abc');
    });

    // 2: internal error, 7: refused, 8: cancelled, 11: calm down.
    describe.each([2, 7, 8, 11])('a reset with code %i', (code) => {
      it('before the head is a request that was lost', async () => {
        const server = await serveFrames();
        const reader = new Reader(server.url, agent());
        // undici 8 asks once more where the server refused.
        const requests = code === 7 && major >= 8 ? 2 : 1;
        for (let i = 0; i < requests; i += 1) {
          const exchange = await server.accept();
          exchange.send(exchange.reset(code));
        }
        await expectCut(reader, 'headers');
      });

      it('in the body is a cut', async () => {
        const server = await serveFrames();
        const reader = new Reader(server.url, agent());
        const exchange = await server.accept();
        exchange.send(exchange.head(), exchange.data('abc'));
        await reader.begun;
        exchange.send(exchange.reset(code));
        await expectCut(reader, 'body', 'abc');
      });

      it('that arrives with the body is a cut', async () => {
        const server = await serveFrames();
        const reader = new Reader(server.url, agent());
        const exchange = await server.accept();
        exchange.send(exchange.head(), exchange.data('abc'), exchange.reset(code));
        const end = await reader.end;
        expect(end).toBeInstanceOf(InterruptedError);
      });

      it('short of the length is a cut', async () => {
        const server = await serveFrames();
        const reader = new Reader(server.url, agent());
        const exchange = await server.accept();
        exchange.send(exchange.head(field(CONTENT_LENGTH, '9')), exchange.data('abc'));
        await reader.begun;
        exchange.send(exchange.reset(code));
        await expectCut(reader, 'body', 'abc');
      });

      it('in a coded body is a cut', async () => {
        const server = await serveFrames();
        const reader = new Reader(server.url, agent());
        const exchange = await server.accept();
        exchange.send(exchange.head(field(CONTENT_ENCODING, 'gzip')), exchange.data(gzipSync('abc').subarray(0, -8)));
        exchange.send(exchange.reset(code));
        const end = await reader.end;
        expect(end).toBeInstanceOf(InterruptedError);
      });

      it('leaves the other streams of the connection alone', async () => {
        const server = await serveFrames();
        const dispatcher = agent();
        const first = new Reader(server.url, dispatcher);
        const exchange = await server.accept();
        exchange.send(exchange.head(), exchange.data('abc'));
        await first.begun;
        const second = new Reader(server.url, dispatcher);
        const neighbour = await server.accept();
        exchange.send(exchange.reset(code));
        await expectCut(first, 'body', 'abc');
        neighbour.send(neighbour.head(), neighbour.data('def', END_STREAM));
        expect(await second.end).toBe('whole');
        expect(second.text).toBe('def');
      });
    });

    it('is gone with the connection', async () => {
      const server = await serveFrames();
      const reader = new Reader(server.url, agent());
      const exchange = await server.accept();
      exchange.send(exchange.head(), exchange.data('abc'));
      await reader.begun;
      exchange.socket.end();
      await expectCut(reader, 'body', 'abc');
    });

    it('was cut where the body is shorter than its length', async () => {
      const server = await serveFrames();
      const reader = new Reader(server.url, agent());
      const exchange = await server.accept();
      exchange.send(exchange.head(field(CONTENT_LENGTH, '9')), exchange.data('abc', END_STREAM));
      expect(await reader.end).toBeInstanceOf(InterruptedError);
    });

    it('outlives a GOAWAY in the middle with undici 8, and is cut by it with undici 7', async () => {
      const server = await serveFrames();
      const reader = new Reader(server.url, agent());
      const exchange = await server.accept();
      exchange.send(exchange.head(), exchange.data('abc'));
      await reader.begun;
      exchange.send(exchange.goAway(0), exchange.data('def', END_STREAM));
      if (major < 8) {
        await expectCut(reader, 'body', 'abc');
        return;
      }
      expect(await reader.end).toBe('whole');
      expect(reader.text).toBe('abcdef');
    });

    it('is cut by a GOAWAY with the connection’s end', async () => {
      const server = await serveFrames();
      const reader = new Reader(server.url, agent());
      const exchange = await server.accept();
      exchange.send(exchange.head(), exchange.data('abc'));
      await reader.begun;
      exchange.socket.end(exchange.goAway(0));
      await expectCut(reader, 'body', 'abc');
    });

    it('asks again after a GOAWAY that left the request out with undici 8, and was lost with undici 7', async () => {
      const server = await serveFrames();
      const reader = new Reader(server.url, agent());
      const exchange = await server.accept();
      exchange.send(exchange.goAway(0, 0));
      if (major < 8) {
        await expectCut(reader, 'headers');
        return;
      }
      const again = await server.accept();
      again.send(again.head(), again.data('abc', END_STREAM));
      expect(await reader.end).toBe('whole');
      expect(server.connections()).toBe(2);
    });

    it('gives up its stream, not the connection, when the reader leaves', async () => {
      const server = await serveFrames();
      const dispatcher = agent();
      const iterator = asyncIterableFrom(fromHTTP(server.url, { dispatcher }))[Symbol.asyncIterator]();
      const first = iterator.next();
      const exchange = await server.accept();
      exchange.send(exchange.head(), exchange.data('abc'));
      expect(Buffer.from((await first).value ?? []).toString()).toBe('abc');
      await iterator.return?.();
      expect(await exchange.wasReset).toBeTypeOf('number');
      const reader = new Reader(server.url, dispatcher);
      const next = await server.accept();
      next.send(next.head(), next.data('def', END_STREAM));
      expect(await reader.end).toBe('whole');
      expect(server.connections()).toBe(1);
    });
  });

  describe('over HTTP/2 to a server of Node', () => {
    async function serve(answer: (stream: ServerHttp2Stream) => void): Promise<string> {
      const server = createSecureServer(tls);
      server.on('stream', (stream) => {
        stream.on('error', () => undefined); // the client may leave as it likes
        answer(stream);
      });
      return `https://127.0.0.1:${String(await listen(server))}/`;
    }
    const HEAD = { ':status': 200, 'content-type': 'text/event-stream' };

    it('reads past an early hint, to the end before the trailers', async () => {
      const url = await serve((stream) => {
        stream.additionalHeaders({ ':status': 103, link: '</a>' });
        stream.respond(HEAD, { waitForTrailers: true });
        stream.on('wantTrailers', () => {
          stream.sendTrailers({ 'x-a': 'b' });
        });
        stream.end('abc');
      });
      const reader = new Reader(url, agent());
      expect(await reader.end).toBe('whole');
      expect(reader.text).toBe('abc');
    });

    it('tells a status, and when to come again', async () => {
      const url = await serve((stream) => {
        stream.respond({ ':status': 429, 'retry-after': '7' });
        stream.end('later');
      });
      const reader = new Reader(url, agent());
      const end = await reader.end;
      expect(end).toBeInstanceOf(HTTPError);
      expect(end).toMatchObject({ status: 429, retryAfterMs: 7000 });
    });

    it('takes a 204 for whole', async () => {
      const url = await serve((stream) => {
        stream.respond({ ':status': 204 }, { endStream: true });
      });
      await lastValueFrom(fromHTTP(url, { dispatcher: agent() }), { defaultValue: undefined });
    });

    it('takes the head alone for an answer to HEAD, whatever its length says', async () => {
      const url = await serve((stream) => {
        stream.respond({ ...HEAD, 'content-length': 9 }, { endStream: true });
      });
      const answer = fromHTTP(url, { dispatcher: agent(), method: 'HEAD' });
      expect(await lastValueFrom(answer, { defaultValue: 'nothing' })).toBe('nothing');
    });

    it('holds back the streams that nobody reads, and only these', async () => {
      const TOTAL = 16 * 1024 * 1024;
      const piece = Buffer.alloc(64 * 1024, 'x');
      const sent: number[] = [];
      const pings: ((callback: (error: Error | null) => void) => unknown)[] = [];
      const url = await serve((stream) => {
        const index = sent.push(0) - 1;
        const { session } = stream;
        if (session !== undefined) pings.push((callback) => session.ping(callback));
        stream.respond(HEAD);
        const write = (): void => {
          while ((sent[index] ?? 0) < TOTAL) {
            sent[index] = (sent[index] ?? 0) + piece.length;
            if (!stream.write(piece)) {
              stream.once('drain', write);
              return;
            }
          }
          stream.end();
        };
        write();
      });
      const dispatcher = agent();
      const open = (): AsyncIterator<Uint8Array> =>
        asyncIterableFrom(fromHTTP(url, { dispatcher }))[Symbol.asyncIterator]();
      const stalled = [open(), open(), open()];
      const begun = await Promise.all(stalled.map((iterator) => iterator.next()));

      // A round trip of a ping comes behind all that was sent before it: two without a byte more mean that nothing moves.
      for (let quiet = 0; quiet < 2;) {
        const before = sent.join();
        for (const ping of pings) await promisify(ping)();
        quiet = sent.join() === before ? quiet + 1 : 0;
      }
      expect(Math.max(...sent)).toBeLessThan(4 * 1024 * 1024);

      const read = async (iterator: AsyncIterator<Uint8Array>, first = 0): Promise<number> => {
        let bytes = first;
        for (let next = await iterator.next(); next.done !== true; next = await iterator.next())
          bytes += next.value.length;
        return bytes;
      };
      expect(await read(open())).toBe(TOTAL);
      expect(Math.max(...sent.slice(0, 3))).toBeLessThan(4 * 1024 * 1024);
      const rest = stalled.map((iterator, i) =>
        read(iterator, (begun[i] as IteratorYieldResult<Uint8Array>).value.length),
      );
      expect(await Promise.all(rest)).toEqual([TOTAL, TOTAL, TOTAL]);
    });
  });
});
