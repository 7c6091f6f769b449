import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, connect, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { inspect } from 'node:util';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { lastValueFrom, map, reduce } from 'rxjs';
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { HTTPError, InterruptedError, isRetryable, ProtocolError } from '../../../src/errors.js';
import { fromHTTP, type FromHTTPOptions } from '../../../src/sources/fromHTTP.js';
import { bundle } from '../../support/bundle.js';

const open: { readonly server: Server; readonly sockets: Set<Socket> }[] = [];
afterEach(async () => {
  vi.unstubAllEnvs();
  for (const { server, sockets } of open.splice(0)) {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  }
});

/** Answers each connection's first bytes with bytes of the test's own; its address, without a scheme. */
async function serveRaw(answer: (socket: Socket, request: string) => void): Promise<string> {
  const sockets: Set<Socket> = new Set();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined); // the client may leave as it likes
    socket.once('data', (request) => {
      answer(socket, request.toString());
    });
  });
  open.push({ server, sockets });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `127.0.0.1:${String((server.address() as { port: number }).port)}`;
}

/** A proxy that makes tunnels. */
function serveProxy(): Promise<string> {
  return serveRaw((socket, request) => {
    const [, host, port] = /^CONNECT (\S+):(\d+) /.exec(request) ?? [];
    const far = connect(Number(port), host, () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      socket.pipe(far).pipe(socket);
    });
    far.on('error', () => socket.destroy());
  });
}

function stubProxy(name: string, value: string): void {
  for (const variable of ['http_proxy', 'https_proxy', 'no_proxy']) {
    vi.stubEnv(variable, undefined);
    vi.stubEnv(variable.toUpperCase(), undefined);
  }
  vi.stubEnv(name, value);
}

function read(url: string, options?: FromHTTPOptions): Promise<string> {
  const bytes = fromHTTP(url, options).pipe(reduce((all, chunk) => Buffer.concat([all, chunk]), Buffer.alloc(0)));
  return lastValueFrom(bytes.pipe(map((all) => all.toString())));
}

async function failure(url: string, options?: FromHTTPOptions): Promise<Error> {
  const end = await read(url, options).catch((error: unknown) => error);
  if (!(end instanceof Error)) throw new Error('expected an error, got a completion');
  return end;
}

const frame = (delta: object, finish?: string): string =>
  `data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;
const COUNT = 20;
const text = Array.from({ length: COUNT }, (_, i) => String.fromCharCode(97 + i).repeat(16_000)).join('');
const frames = Buffer.from((text.match(/.{16000}/g) ?? []).map((content) => frame({ content })).join(''));
const whole = Buffer.concat([frames, Buffer.from(`${frame({}, 'stop')}data: [DONE]\n\n`)]);
const TYPE = 'Content-Type: text/event-stream\r\n';

describe('a connection that ends while its reader is slow', () => {
  let program: string;

  beforeAll(async () => {
    const folder = await mkdtemp(join(tmpdir(), 'millrace-undiciTransport-'));
    program = join(folder, 'slow.mjs');
    await bundle(
      `
      import { createHash } from 'node:crypto';
      import { Writable } from 'node:stream';
      import { map } from 'rxjs';
      import { chatDialect } from './src/providers/index.ts';
      import { decode, fromHTTP, parseSSE, toStdout } from './src/index.ts';
      const hash = createHash('sha256');
      let chars = 0;
      const stream = new Writable({
        highWaterMark: 16384,
        write(text, _, done) {
          hash.update(text);
          chars += text.length;
          if (chars > 32768) process.send('slow');
          setTimeout(done, 4);
        },
      });
      const tell = (end) => stream.end(() => console.log(JSON.stringify({ end, chars, hash: hash.digest('hex') })));
      const bytes = fromHTTP(process.argv[2]);
      const answer = process.argv[3] === 'plain'
        ? bytes.pipe(map((chunk) => Buffer.from(chunk).toString()))
        : bytes.pipe(parseSSE(), decode(chatDialect()));
      answer.pipe(toStdout({ stream })).subscribe({
        next: (receipt) => tell(receipt.outcome),
        error: (error) => tell(error.name),
      });
      `,
      program,
    );
    return async (): Promise<void> => {
      await rm(folder, { recursive: true, force: true });
    };
  });

  interface Slowly {
    readonly plain?: boolean;
    readonly env?: Readonly<Record<string, string>>;
    /** Called while the reader is paused. */
    readonly onSlow?: () => void;
  }

  /** Reads in a process of its own, which a defect would end. */
  async function readSlowly(url: string, { plain = false, env = {}, onSlow }: Slowly = {}): Promise<unknown> {
    const direct = { http_proxy: '', https_proxy: '', no_proxy: '' };
    const child = spawn(process.execPath, [program, url, plain ? 'plain' : 'events'], {
      env: { ...process.env, ...direct, ...env },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    const said = { out: '', err: '' };
    child.stdout?.on('data', (data: Buffer) => (said.out += data.toString()));
    child.stderr?.on('data', (data: Buffer) => (said.err += data.toString()));
    child.once('message', () => onSlow?.());
    const [code] = (await once(child, 'close')) as [number | null];
    expect(said.err).toBe('');
    expect(code).toBe(0);
    return JSON.parse(said.out);
  }

  const hash = createHash('sha256').update(text).digest('hex');
  const length = (more: number): string => `Content-Length: ${String(frames.length + more)}\r\n`;
  const chunk = (bytes: Buffer, more: number): Buffer =>
    Buffer.concat([Buffer.from(`${(bytes.length + more).toString(16)}\r\n`), bytes]);

  const cases: Record<string, readonly [head: string, body: Buffer, end: string]> = {
    'Connection: close, cut': ['HTTP/1.1 200 OK\r\nConnection: close\r\n', frames, 'InterruptedError'],
    'Connection: close, whole': ['HTTP/1.1 200 OK\r\nConnection: close\r\n', whole, 'complete'],
    'HTTP/1.0, cut': ['HTTP/1.0 200 OK\r\n', frames, 'InterruptedError'],
    'Connection: close and chunks, cut inside one': [
      'HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n',
      chunk(frames, 10),
      'InterruptedError',
    ],
    'Connection: close and a length, cut': [
      `HTTP/1.1 200 OK\r\nConnection: close\r\n${length(10)}`,
      frames,
      'InterruptedError',
    ],
    'Connection: close and a length, whole but for the end of the answer': [
      `HTTP/1.1 200 OK\r\nConnection: close\r\n${length(0)}`,
      frames,
      'InterruptedError',
    ],
    'Connection: close and gzip, whole': [
      'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: gzip\r\n',
      gzipSync(whole, { level: 0 }),
      'complete',
    ],
    'keep-alive and a length, cut': [`HTTP/1.1 200 OK\r\n${length(10)}`, frames, 'InterruptedError'],
  };

  it.each(Object.entries(cases))('delivers all that was sent: %s', async (_, [head, body, end]) => {
    const server = await serveRaw((socket) => {
      socket.write(`${head}${TYPE}\r\n`);
      socket.end(body);
    });
    expect(await readSlowly(`http://${server}/`)).toEqual({ end, chars: text.length, hash });
  });

  it('delivers all that was sent through the tunnel of a proxy', async () => {
    const server = await serveRaw((socket) => {
      socket.write(`HTTP/1.1 200 OK\r\nConnection: close\r\n${TYPE}\r\n`);
      socket.end(frames);
    });
    const proxy = await serveProxy();
    expect(await readSlowly(`http://${server}/`, { env: { http_proxy: `http://${proxy}` } })).toEqual({
      end: 'InterruptedError',
      chars: text.length,
      hash,
    });
  });

  it.each([
    ['close', 'Connection: close\r\n'],
    ['keep-alive', ''],
  ])('is whole where the length says so: %s', async (_, connection) => {
    const server = await serveRaw((socket) => {
      socket.write(`HTTP/1.1 200 OK\r\n${connection}${TYPE}Content-Length: ${String(text.length)}\r\n\r\n`);
      socket.end(text);
    });
    expect(await readSlowly(`http://${server}/`, { plain: true })).toEqual({
      end: 'complete',
      chars: text.length,
      hash,
    });
  });

  it.each([
    ['nothing but its end', ''],
    ['chunks', 'Transfer-Encoding: chunked\r\n'],
    ['a length', length(10)],
  ])('was cut by a reset: a body with %s', async (_, framing) => {
    let reset: () => void = () => undefined;
    const server = await serveRaw((socket) => {
      reset = (): void => {
        socket.resetAndDestroy();
      };
      socket.write(`HTTP/1.1 200 OK\r\nConnection: close\r\n${TYPE}${framing}\r\n`);
      socket.write(framing.startsWith('T') ? chunk(frames, 10) : frames);
    });
    // A reset takes with it what the reader's system still held (RFC 9293, 3.10.7): how much was read is not ours to say.
    const onSlow = (): void => {
      reset();
    };
    expect(await readSlowly(`http://${server}/`, { onSlow })).toMatchObject({ end: 'InterruptedError' });
  });
});

describe('a chunked answer with Connection: close', () => {
  const head = `HTTP/1.1 200 OK\r\n${TYPE}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n`;
  const body = '6\r\nabcdef\r\n3\r\nghi\r\n0\r\n\r\n';
  const offsets = Array.from({ length: body.length }, (_, offset) => offset);

  it.each(offsets)('was cut when the connection is closed after %i bytes of it', async (offset) => {
    const server = await serveRaw((socket) => socket.end(head + body.slice(0, offset)));
    const error = await failure(`http://${server}/`);
    expect(error).toBeInstanceOf(InterruptedError);
    expect(error).toMatchObject({ during: 'body' });
    expect(isRetryable(error)).toBe(true);
  });

  it.each(offsets)('was cut when the connection is reset after %i bytes of it', async (offset) => {
    let reset: () => void = () => undefined;
    const server = await serveRaw((socket) => {
      reset = (): void => {
        socket.resetAndDestroy();
      };
      socket.write(head + body.slice(0, offset));
    });
    const hasData = body.slice(0, offset).includes('a');
    const end = new Promise<unknown>((resolve) => {
      let chars = 0;
      fromHTTP(`http://${server}/`, {
        onResponse: () => {
          if (!hasData) reset();
        },
      }).subscribe({
        next: (bytes) => {
          chars += bytes.length;
          if (chars === (body.slice(0, offset).match(/[a-i]/g) ?? []).length) reset();
        },
        error: resolve,
        complete: () => {
          resolve('complete');
        },
      });
    });
    expect(await end).toBeInstanceOf(InterruptedError);
  });

  it('is whole with all of its bytes', async () => {
    const server = await serveRaw((socket) => socket.end(head + body));
    expect(await read(`http://${server}/`)).toBe('abcdefghi');
  });

  it('is broken, not cut, by a chunk size that is none', async () => {
    const server = await serveRaw((socket) => socket.end(`${head}zz\r\n`));
    expect(await failure(`http://${server}/`)).toBeInstanceOf(ProtocolError);
  });
});

describe('lengths', () => {
  it('that contradict each other are a broken answer, not a lost one', async () => {
    const server = await serveRaw((socket) => {
      socket.end(`HTTP/1.1 200 OK\r\n${TYPE}Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef`);
    });
    const error = await failure(`http://${server}/`);
    expect(error).toBeInstanceOf(ProtocolError);
    expect(isRetryable(error)).toBe(false);
  });

  it('that the body does not reach are a cut', async () => {
    const server = await serveRaw((socket) => {
      socket.end(`HTTP/1.1 200 OK\r\n${TYPE}Connection: close\r\nContent-Length: 9\r\n\r\nabcdef`);
    });
    expect(await failure(`http://${server}/`)).toBeInstanceOf(InterruptedError);
  });
});

it.each(['100 Continue', '101 Switching Protocols'])(
  'calls a %s that nobody asked for a broken answer',
  async (status) => {
    const server = await serveRaw((socket) => {
      socket.write(`HTTP/1.1 ${status}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n`);
    });
    const error = await failure(`http://${server}/`);
    expect(error).toBeInstanceOf(ProtocolError);
    expect(isRetryable(error)).toBe(false);
  },
);

it('says that a request with an expect header cannot be sent', async () => {
  const error = await failure('http://127.0.0.1:9/', { headers: { expect: '100-continue' } });
  expect(error).toBeInstanceOf(ProtocolError);
  expect(error.message).toContain('cannot be sent: expect header not supported');
});

describe('a proxy', () => {
  it.each([407, 403, 502])('that refuses a tunnel with %i is no lost connection', async (status) => {
    const proxy = await serveRaw((socket) => socket.end(`HTTP/1.1 ${String(status)} No\r\nContent-Length: 0\r\n\r\n`));
    stubProxy('HTTP_PROXY', `http://someone:SECRET@${proxy}`);
    const error = await failure('http://127.0.0.1:9/');
    expect(error).toBeInstanceOf(ProtocolError);
    expect(error.message).toContain(`Proxy response (${String(status)})`);
    expect(isRetryable(error)).toBe(false);
    expect(inspect(error, { depth: 10, showHidden: true })).not.toMatch(
      new RegExp(`SECRET|${Buffer.from('someone:SECRET').toString('base64')}`),
    );
  });

  it.each([
    ['HTTP_PROXY', 'http://u:SECRET@[bad'],
    ['https_proxy', 'http://u:SECRET@[bad'],
    ['HTTPS_PROXY', 'ftp://u:SECRET@127.0.0.1'],
    ['http_proxy', 'http://u:%SECRET@127.0.0.1'],
  ])('that %s does not name well (%s) is told by the variable, without its value', async (name, value) => {
    stubProxy(name, value);
    const error = await failure('http://127.0.0.1:9/');
    expect(error).toBeInstanceOf(ProtocolError);
    expect(error.message).toContain(`environment variable ${name} is not a usable proxy URL`);
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('SECRET');
  });
});

describe('a content coding', () => {
  const codings = { gzip: gzipSync, br: brotliCompressSync, deflate: deflateSync };
  const plain = Buffer.from('one two three '.repeat(20));

  it.each(Object.entries(codings))('is asked for, and its cut seen at every byte: %s', async (name, compress) => {
    const coded = compress(plain);
    const asked: string[] = [];
    const server = await serveRaw((socket, request) => {
      asked.push(/^accept-encoding: (.*)$/im.exec(request)?.[1] ?? '');
      const body = coded.subarray(0, Number(/^GET \/(\d+)/.exec(request)?.[1]));
      const length = `Content-Length: ${String(body.length)}\r\n`;
      socket.end(
        Buffer.concat([Buffer.from(`HTTP/1.1 200 OK\r\n${TYPE}Content-Encoding: ${name}\r\n${length}\r\n`), body]),
      );
    });
    for (let bytes = 1; bytes < coded.length; bytes += 1) {
      expect(await failure(`http://${server}/${String(bytes)}`)).toBeInstanceOf(InterruptedError);
    }
    expect(await read(`http://${server}/${String(coded.length)}`)).toBe(plain.toString());
    for (const line of asked) expect(line.split(', ')).toContain(name);
  });

  it('is not asked for where its cut would not be seen: zstd, on a Node that has it', async () => {
    const asked: string[] = [];
    const server = await serveRaw((socket, request) => {
      asked.push(/^accept-encoding: (.*)$/im.exec(request)?.[1] ?? '');
      socket.end(`HTTP/1.1 200 OK\r\n${TYPE}Content-Encoding: zstd\r\nContent-Length: 3\r\n\r\nabc`);
    });
    expect(await failure(`http://${server}/`)).toBeInstanceOf(ProtocolError);
    expect(asked).toEqual(['gzip, deflate, br']);
  });
});

describe('an unknown content coding', () => {
  const coded = 'Content-Type: text/event-stream\r\nContent-Encoding: rot13\r\nContent-Length: 3\r\n';

  it('does not hide the status of an error and when to come again', async () => {
    const server = await serveRaw((socket) => {
      socket.end(`HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\n${coded}\r\nabc`);
    });
    const error = await failure(`http://${server}/`);
    expect(error).toBeInstanceOf(HTTPError);
    expect(error).toMatchObject({ status: 429, retryAfterMs: 7000 });
    expect(error.message).not.toContain('abc');
  });

  it('does not stop a redirect', async () => {
    const server = await serveRaw((socket, request) => {
      if (request.startsWith('GET /there ')) socket.end(`HTTP/1.1 200 OK\r\n${TYPE}Content-Length: 4\r\n\r\nhere`);
      else socket.end(`HTTP/1.1 307 Over\r\nLocation: /there\r\n${coded}\r\nabc`);
    });
    expect(await read(`http://${server}/`)).toBe('here');
  });

  it('on an answer is refused', async () => {
    const server = await serveRaw((socket) => socket.end(`HTTP/1.1 200 OK\r\n${coded}\r\nabc`));
    const error = await failure(`http://${server}/`);
    expect(error).toBeInstanceOf(ProtocolError);
    expect(error.message).toContain('unknown content coding "rot13"');
  });
});
