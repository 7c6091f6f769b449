import { Agent, type Dispatcher, EnvHttpProxyAgent } from 'undici';
import process from 'node:process';
import type { ResponseHead, Transport, TransportFailure } from '../io.js';
import { decompress, type Decompressor, readCodings } from './decompress.js';

/** undici's `dispatch`: the way to the bytes with the least in between. */
export const undiciTransport: Transport = (request, handler) => {
  const { url, method, headers, body } = request;
  let controller: Dispatcher.DispatchController | undefined;
  let decompressor: Decompressor | undefined;
  let aborted = false;
  let paused = false;
  let framed = false;

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

  const dispatcher = (request.dispatcher as Dispatcher | undefined) ?? defaultDispatcher(request.connectTimeoutMs);
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
        const head: ResponseHead = { status, headers: flatten(rawHeaders), url: url.href };
        framed = isFramed(head.headers, status, statusMessage, request.dispatcher !== undefined);
        const codings = readCodings(head.headers['content-encoding']);
        if ('refused' in codings) {
          fail('protocol', new Error(codings.refused));
          return;
        }
        if (codings.length > 0) decompressor = startDecompression(codings);
        handler.onHead(head);
        if (paused) started.pause();
      },
      onResponseData: (started, chunk) => {
        if (aborted) return;
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
          fail(classify(error), error);
        };
        finish(lost);
      },
    },
  );

  return {
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
};

// One agent per connect limit, made when first needed. HTTP/2 is left to the caller's own dispatcher.
const agents: Map<string, Dispatcher> = new Map();

function defaultDispatcher(connectTimeoutMs: number): Dispatcher {
  const { env } = process;
  const proxies = ['http_proxy', 'https_proxy', 'no_proxy'].map((name) => env[name] ?? env[name.toUpperCase()] ?? '');
  const key = [connectTimeoutMs, ...proxies].join(' ');
  let agent = agents.get(key);
  if (agent === undefined) {
    const options = { connect: { timeout: connectTimeoutMs }, allowH2: false };
    agent = proxies.slice(0, 2).every((proxy) => proxy === '') ? new Agent(options) : new EnvHttpProxyAgent(options);
    agents.set(key, agent);
  }
  return agent;
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

function classify(error: unknown): TransportFailure {
  const { code, name } = error as { code?: unknown; name?: unknown };
  if (name === 'HTTPParserError') {
    // It quotes the bytes at which it failed, which may be model output: errors of ours show none.
    (error as { data?: unknown }).data = undefined;
    return code === 'HPE_INVALID_EOF_STATE' ? 'lost' : 'protocol'; // lost: the connection closed inside a chunk
  }
  if (code === 'UND_ERR_HEADERS_TIMEOUT') return 'headers-timeout';
  if (code === 'UND_ERR_BODY_TIMEOUT') return 'body-timeout';
  if (
    code === 'UND_ERR_INVALID_ARG' ||
    code === 'UND_ERR_DESTROYED' ||
    code === 'UND_ERR_CLOSED' ||
    code === 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH'
  )
    return 'invalid';
  return code === 'UND_ERR_HEADERS_OVERFLOW' ? 'protocol' : 'lost';
}
