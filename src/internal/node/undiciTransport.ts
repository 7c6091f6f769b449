import { Agent, type Dispatcher, EnvHttpProxyAgent, ProxyAgent } from 'undici';
import process from 'node:process';
import type { ResponseHead, Transport, TransportControl, TransportFailure } from '../io.js';
import { decompress, type Decompressor, readCodings } from './decompress.js';
import { wakingPool } from './wakingPool.js';

/**
 * undici's `dispatch`: the way to the bytes with the least in between. A caller's own dispatcher stays exposed to the crash
 * that `wakingPool.ts` keeps from ours; so does a SOCKS proxy's, whose pools undici makes itself.
 */
export const undiciTransport: Transport = (request, handler) => {
  const { url, method, headers, body } = request;
  let controller: Dispatcher.DispatchController | undefined;
  let decompressor: Decompressor | undefined;
  let aborted = false;
  let paused = false;
  let framed = false;
  let headSeen = false;
  let dropsBody = false;

  const fail = (kind: TransportFailure, cause: unknown): void => {
    if (aborted) return;
    abort();
    handler.onFailure(kind, cause);
  };
  const abort = (): void => {
    if (aborted) return;
    aborted = true;
    controller?.abort(new Error('stopped by the reader'));
    decompressor?.destroy();
  };
  /** The transport is over: what the decompressor still holds comes first. */
  const finish = (report: () => void): void => {
    if (decompressor === undefined) report();
    else {
      afterCoding = report;
      decompressor.end();
    }
  };
  let afterCoding: (() => void) | undefined;
  let lost: (() => void) | undefined;

  const startDecompression = (codings: readonly string[]): Decompressor =>
    decompress(codings, {
      onData: (chunk) => {
        handler.onData(chunk);
      },
      onEnd: () => {
        if (aborted) return;
        if (afterCoding === undefined) {
          // The coding says that it is over while the body goes on: the rest is not ours.
          abort();
          handler.onEnd(true);
        } else afterCoding();
      },
      onError: (kind, cause) => {
        if (kind === 'truncated' && lost !== undefined) {
          lost();
          return;
        }
        fail(kind === 'truncated' ? 'lost' : 'protocol', cause);
      },
      onDrain: () => {
        if (!paused) controller?.resume();
      },
    });

  const control: TransportControl = {
    abort,
    pause: () => {
      paused = true;
      controller?.pause();
      decompressor?.pause();
    },
    resume: () => {
      paused = false;
      decompressor?.resume();
      controller?.resume();
    },
  };

  const dispatcher = (request.dispatcher as Dispatcher | undefined) ?? defaultDispatcher(request.connectTimeoutMs);
  if (dispatcher instanceof Error) {
    fail('invalid', dispatcher);
    return control;
  }
  dispatcher.dispatch(
    {
      origin: url.origin,
      path: url.pathname + url.search,
      method: method,
      headers,
      body: body ?? null,
      headersTimeout: request.headersTimeoutMs,
      bodyTimeout: request.bodyTimeoutMs,
    },
    {
      onRequestStart: (started) => {
        controller = started;
        // Before the socket exists there is nothing to abort; now there is, and nothing was sent yet.
        if (aborted) started.abort(new Error('stopped by the reader'));
        else handler.onSent();
      },
      onResponseStart: (started, status, rawHeaders, statusMessage) => {
        if (aborted || status < 200) return; // 1xx: the answer is still to come
        headSeen = true;
        const head: ResponseHead = { status, headers: flatten(rawHeaders), url: url.href };
        framed = isFramed(head.headers, status, statusMessage, request.dispatcher !== undefined);
        const codings = readCodings(head.headers['content-encoding']);
        if ('refused' in codings) {
          if (status < 300) {
            fail('protocol', new Error(codings.refused));
            return;
          }
          // The status says what is the matter, its headers when to come again: more than a body that cannot be read.
          dropsBody = true;
        } else if (codings.length > 0) decompressor = startDecompression(codings);
        handler.onHead(head);
        if (paused) started.pause();
      },
      onResponseData: (started, chunk) => {
        // A parser that goes on after a pause may have nothing to show.
        if (aborted || dropsBody || chunk.length === 0) return;
        if (decompressor === undefined) handler.onData(chunk);
        else if (!decompressor.write(chunk)) started.pause();
      },
      onResponseEnd: () => {
        if (aborted) return;
        finish(() => {
          aborted = true;
          handler.onEnd(framed);
        });
      },
      onResponseError: (_, error) => {
        if (aborted) return;
        lost = () => {
          fail(classify(error, headSeen), error);
        };
        finish(lost);
      },
    },
  );

  return control;
};

// One agent per connect limit, made when first needed. HTTP/2 is left to the caller's own dispatcher.
const agents: Map<string, Dispatcher> = new Map();

/** An error when the environment names a proxy that cannot be used. */
function defaultDispatcher(connectTimeoutMs: number): Dispatcher | Error {
  const { env } = process;
  const proxies = ['http_proxy', 'https_proxy', 'no_proxy'].map((lower) => {
    const name = env[lower] === undefined ? lower.toUpperCase() : lower;
    return { name, value: env[name] ?? '' };
  });
  const key = [connectTimeoutMs, ...proxies.map(({ value }) => value)].join(' ');
  let agent = agents.get(key);
  if (agent === undefined) {
    const options = { connect: { timeout: connectTimeoutMs }, allowH2: false, factory: wakingPool };
    const named = proxies.slice(0, 2).filter(({ value }) => value !== '');
    const unusable = named.find(({ value }) => !isUsableProxy(value));
    // Not the URL parser's own error: it shows its input, which may hold a password.
    if (unusable !== undefined) return new Error(`the environment variable ${unusable.name} is not a usable proxy URL`);
    agent = named.length === 0 ? new Agent(options) : new EnvHttpProxyAgent(options);
    agents.set(key, agent);
  }
  return agent;
}

function isUsableProxy(url: string): boolean {
  try {
    void new ProxyAgent(url).close();
    return true;
  } catch {
    return false; // why is not told: see above
  }
}

function flatten(headers: Readonly<Record<string, string | readonly string[] | undefined>>): Record<string, string> {
  const flat: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) flat[name.toLowerCase()] = typeof value === 'string' ? value : value.join(', ');
  }
  return flat;
}

/**
 * Whether the framing will tell a whole body from a cut one. HTTP/1 without length and chunks ends a body by closing, which
 * a cut does too (RFC 9112, 6.3). HTTP/2 has neither header nor reason phrase, and tells.
 */
function isFramed(
  headers: Readonly<Record<string, string>>,
  status: number,
  statusMessage: string | undefined,
  mayBeHTTP2: boolean,
): boolean {
  if (status === 204 || status === 205 || status === 304) return true;
  if ('content-length' in headers || 'transfer-encoding' in headers) return true;
  return mayBeHTTP2 && (statusMessage ?? '') === '' && !('connection' in headers);
}

function classify(error: unknown, headSeen: boolean): TransportFailure {
  const { code, name, message } = error as { code?: unknown; name?: unknown; message?: unknown };
  if (name === 'HTTPParserError') {
    // It quotes the bytes at which it failed, which may be model output: errors of ours show none.
    (error as { data?: unknown }).data = undefined;
    // lost: the connection closed inside a chunk. undici 7.30.2 has no name for this error of its parser, only the text.
    const isCut = code === 'HPE_INVALID_EOF_STATE' || String(message).includes('Invalid EOF state');
    return isCut ? 'lost' : 'protocol';
  }
  switch (code) {
    case 'UND_ERR_HEADERS_TIMEOUT':
      return 'headers-timeout';
    case 'UND_ERR_BODY_TIMEOUT':
      return 'body-timeout';
    case 'UND_ERR_INVALID_ARG':
    case 'UND_ERR_NOT_SUPPORTED': // an `expect` header
    case 'UND_ERR_DESTROYED':
    case 'UND_ERR_CLOSED':
    case 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH':
      return 'invalid';
    case 'UND_ERR_HEADERS_OVERFLOW':
      return 'protocol';
    case 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH':
      // Of a body: it was cut. Before there is one: what undici makes of headers that contradict each other.
      return headSeen ? 'lost' : 'protocol';
    case 'UND_ERR_ABORTED':
      // A proxy that refuses to make a tunnel (407, 403): asking again changes nothing.
      return String(message).startsWith('Proxy response (') ? 'protocol' : 'lost';
    default:
      return 'lost';
  }
}
