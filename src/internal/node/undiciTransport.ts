import { Agent, type Dispatcher, EnvHttpProxyAgent, ProxyAgent } from 'undici';
import { maxHeaderSize } from 'node:http';
import process from 'node:process';
import type { ResponseHead, Transport, TransportControl, TransportFailure, TransportRequest } from '../io.js';
import { decompress, type Decompressor, readCodings } from './decompress.js';
import { decompressionError, headersError } from './excessErrors.js';
import { parserFailure } from './parserFailure.js';
import { wakingPool } from './wakingPool.js';
import { watchReset } from './watchReset.js';

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
  let missing = 0;

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
  const lose = (why: string): void => {
    lost = () => {
      fail('lost', new Error(`HTTP/2: ${why}`));
    };
  };

  const startDecompression = (codings: readonly string[]): Decompressor =>
    decompress(codings, request.maxDecompressionRatio, {
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
      onExcess: (bytesIn, bytesOut) => {
        fail('limit', decompressionError(request, bytesIn, bytesOut));
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

  const dispatcher = (request.dispatcher as Dispatcher | undefined) ?? defaultDispatcher(request);
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
        lost = undefined; // undici may start a request again that the server refused
        // Before the socket exists there is nothing to abort; now there is, and nothing was sent yet.
        if (aborted) started.abort(new Error('stopped by the reader'));
        else handler.onSent();
        // HTTP/2 is for dispatchers of the caller's own. Last: this is about what undici does next.
        if (!aborted && request.dispatcher !== undefined) {
          watchReset((code) => {
            if (controller === started) lose(`the stream was reset with code ${String(code)} before its end`);
          });
        }
      },
      onResponseStart: (started, status, rawHeaders, statusMessage) => {
        if (aborted || status < 200) return; // 1xx: the answer is still to come
        headSeen = true;
        const head: ResponseHead = { status, headers: flatten(rawHeaders), url: url.href };
        framed = isFramed(head.headers, status, statusMessage, request.dispatcher !== undefined);
        // Of HTTP/1 undici sees to it, and version 8 of HTTP/2.
        if (request.dispatcher !== undefined && method !== 'HEAD' && !isBodiless(status)) {
          missing = Number(head.headers['content-length'] ?? 0);
        }
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
        missing -= chunk.length;
        // A parser that goes on after a pause may have nothing to show.
        if (aborted || dropsBody || chunk.length === 0) return;
        if (decompressor === undefined) handler.onData(chunk);
        else if (!decompressor.write(chunk)) started.pause();
      },
      onResponseEnd: () => {
        if (aborted) return;
        if (missing > 0) lose(`the body lacks ${String(missing)} bytes of its length`);
        finish(() => {
          if (lost !== undefined) {
            lost();
            return;
          }
          aborted = true;
          handler.onEnd(framed);
        });
      },
      onResponseError: (_, error) => {
        if (aborted) return;
        if ((error as { code?: unknown }).code === 'UND_ERR_HEADERS_OVERFLOW') {
          // A caller's dispatcher has a limit of its own, and does not tell it.
          const isOurs = request.dispatcher === undefined;
          fail('limit', headersError(request, isOurs ? (request.maxHeaderBytes ?? maxHeaderSize) : undefined));
          return;
        }
        lost = () => {
          fail(classify(error, headSeen), error);
        };
        finish(lost);
      },
    },
  );

  return control;
};

// One agent per pair of limits, made when first needed. HTTP/2 is left to the caller's own dispatcher.
const agents: Map<string, Dispatcher> = new Map();

/** An error when the environment names a proxy that cannot be used. */
function defaultDispatcher({ connectTimeoutMs, maxHeaderBytes }: TransportRequest): Dispatcher | Error {
  const { env } = process;
  const proxies = ['http_proxy', 'https_proxy', 'no_proxy'].map((lower) => {
    const name = env[lower] === undefined ? lower.toUpperCase() : lower;
    return { name, value: env[name] ?? '' };
  });
  const key = [connectTimeoutMs, maxHeaderBytes, ...proxies.map(({ value }) => value)].join(' ');
  let agent = agents.get(key);
  if (agent === undefined) {
    const headers = { maxHeaderSize: maxHeaderBytes ?? maxHeaderSize };
    const options = { connect: { timeout: connectTimeoutMs }, allowH2: false, factory: wakingPool, ...headers };
    const named = proxies.slice(0, 2).filter(({ value }) => value !== '');
    const unusable = named.find(({ value }) => !isUsableProxy(value));
    // Not the URL parser's own error: it shows its input, which may hold a password.
    if (unusable !== undefined) return new Error(`the environment variable ${unusable.name} is not a usable proxy URL`);
    // undici 8 asks a proxy for plain http itself, unless told to make a tunnel for it, as undici 7 does.
    agent = named.length === 0 ? new Agent(options) : new EnvHttpProxyAgent({ ...options, proxyTunnel: true });
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

function isBodiless(status: number): boolean {
  return status === 204 || status === 205 || status === 304;
}

/**
 * Whether the framing will tell a whole body from a cut one. HTTP/1 without length and chunks ends a body by closing, which
 * a cut does too (RFC 9112, 6.3). HTTP/2 has neither header nor reason phrase, and tells, but for what `watchReset.ts` names.
 */
function isFramed(
  headers: Readonly<Record<string, string>>,
  status: number,
  statusMessage: string | undefined,
  mayBeHTTP2: boolean,
): boolean {
  if (isBodiless(status)) return true;
  if ('content-length' in headers || 'transfer-encoding' in headers) return true;
  return mayBeHTTP2 && (statusMessage ?? '') === '' && !('connection' in headers);
}

function classify(error: unknown, headSeen: boolean): TransportFailure {
  const { code, message } = error as { code?: unknown; message?: unknown };
  const parsing = parserFailure(error);
  if (parsing !== undefined) return parsing;
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
    case 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH':
      // Of a body: it was cut. Before there is one: what undici makes of headers that contradict each other.
      return headSeen ? 'lost' : 'protocol';
    case 'UND_ERR_SOCKET':
      // What undici makes of a 100 and a 101 that nobody has asked for: not a lost connection, but an answer that is none.
      return message === 'bad response' || message === 'bad upgrade' ? 'protocol' : 'lost';
    case 'UND_ERR_ABORTED':
      // A proxy that refuses to make a tunnel (407, 403): asking again changes nothing.
      return String(message).startsWith('Proxy response (') ? 'protocol' : 'lost';
    default:
      return 'lost';
  }
}
