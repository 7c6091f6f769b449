import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { InterruptedError } from '../errors.js';
import { BoundedBody } from '../internal/boundedBody.js';
import { mediaType } from '../internal/contentType.js';
import type { ProxyBody } from '../internal/proxyAnswer.js';
import type { ProxyDesk } from './proxyVisit.js';

/**
 * Answers a request of `node:http`; resolves when the answer is out, or the page has left.
 * @param keepsMount - true where the path is wanted as it came, before a framework took its mount point off
 */
export async function serveNode(
  request: IncomingMessage,
  response: ServerResponse,
  desk: ProxyDesk,
  keepsMount: boolean,
): Promise<void> {
  const left = new AbortController();
  const leave = (): void => {
    left.abort();
  };
  if (response.closed) leave();
  else response.once('close', leave);
  try {
    await answer(request, response, desk, keepsMount, left.signal);
  } catch (error) {
    // Somebody else has begun to answer, or has closed it.
    leave();
    desk.report(error);
    response.destroy();
  }
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  desk: ProxyDesk,
  keepsMount: boolean,
  gone: AbortSignal,
): Promise<void> {
  const { originalUrl } = request as { readonly originalUrl?: string }; // Express and Connect keep it
  const given = await desk.answer({
    method: request.method ?? '',
    target: (keepsMount ? originalUrl : undefined) ?? request.url ?? '',
    headers: headersOf(request),
    raw: request,
    gone,
    readBody: (maxBytes) => readBody(request, maxBytes, gone),
  });
  if (gone.aborted) return;
  const { status, headers, body } = given instanceof Response ? partsOf(given, gone) : given;
  response.writeHead(status, headers);
  if (typeof body === 'object') {
    response.flushHeaders();
    await write(response, body, gone);
  } else {
    await until(response, (done) => response.end(body, done));
  }
}

/** Nothing is asked for that the page's connection has no room for. */
async function write(response: ServerResponse, body: ProxyBody, gone: AbortSignal): Promise<void> {
  let unflushed = 0;
  let onFlushed: (() => void) | undefined;
  const flushed = (): Promise<void> =>
    until(response, (done) => {
      onFlushed = done;
      if (unflushed === 0) done();
    });
  try {
    for (;;) {
      const { done, value } = await body.next();
      if (gone.aborted) return;
      if (done === true) break;
      unflushed += 1;
      const hasRoom = response.write(value, () => {
        unflushed -= 1;
        if (unflushed === 0) onFlushed?.();
      });
      if (!hasRoom) await flushed();
    }
    await until(response, (done) => response.end(done));
  } catch {
    // Told by whoever gives the body. What came before arrives, and that nothing ends it says that it was cut; HTTP/2 wants it said.
    await flushed();
    response.destroy(response.req.httpVersionMajor > 1 ? new InterruptedError('The answer was cut') : undefined);
  }
}

/** Resolves when `start` says so, or when nobody is there any more. */
function until(response: ServerResponse, start: (done: () => void) => unknown): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('close', done);
      resolve();
    };
    if (response.closed) resolve();
    else {
      response.on('close', done);
      start(done);
    }
  });
}

interface Parts {
  readonly status: number;
  readonly headers: OutgoingHttpHeaders;
  readonly body: ProxyBody | undefined;
}

/** A web response as Node writes one. */
function partsOf({ status, headers, body }: Response, gone: AbortSignal): Parts {
  const cookies = headers.getSetCookie();
  const reader = body?.getReader();
  gone.addEventListener('abort', () => {
    reader?.cancel().catch(() => undefined); // the page has left: why it could not be cancelled helps nobody
  });
  return {
    status,
    headers: { ...Object.fromEntries(headers), ...(cookies.length > 0 && { 'set-cookie': cookies }) },
    body: reader && {
      next: async () => {
        const { done, value } = await reader.read();
        return done ? { done, value: undefined } : { done, value };
      },
    },
  };
}

function headersOf({ headers: received }: IncomingMessage): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(received)) {
    if (value === undefined || name.startsWith(':')) continue; // those of HTTP/2 are no headers
    for (const one of typeof value === 'string' ? [value] : value) headers.append(name, one);
  }
  return headers;
}

/** Not by iterating: that destroys a request whose body is too large, and its connection with it. */
function readBody(request: IncomingMessage, maxBytes: number, gone: AbortSignal): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const collected = new BoundedBody(maxBytes, request.headers['content-length']);
    if (request.readableEnded) collected.add(parsedBody(request));
    if (collected.refusal !== undefined) {
      reject(collected.refusal);
      return;
    }
    if (request.readableEnded) {
      resolve(collected.whole());
      return;
    }
    const stop = (): void => {
      request.off('data', onData).off('end', onEnd).off('error', onLost).off('close', onLost);
    };
    const onData = (chunk: Uint8Array): void => {
      collected.add(chunk);
      const { refusal } = collected;
      if (refusal === undefined) return;
      stop();
      request.resume(); // what is still to come is dropped, so that the page reads why
      reject(refusal);
    };
    const onEnd = (): void => {
      stop();
      resolve(collected.whole());
    };
    const onLost = (): void => {
      stop();
      reject(new Error('The page left before its request was whole'));
    };
    if (gone.aborted) onLost();
    else request.on('data', onData).on('end', onEnd).on('error', onLost).on('close', onLost);
  });
}

/** The body of a request that a framework has read, where it has left it. */
function parsedBody(request: IncomingMessage): Uint8Array {
  const { body } = request as { readonly body?: unknown };
  const { 'content-length': length = '0', 'content-type': type, 'transfer-encoding': coding } = request.headers;
  if (body instanceof Uint8Array) return body;
  if (typeof body === 'string') return new TextEncoder().encode(body);
  if (body !== undefined && mediaType(type) === 'application/json') {
    return new TextEncoder().encode(JSON.stringify(body));
  }
  if (length === '0' && coding === undefined) return new Uint8Array();
  throw new TypeError(
    'The body of the request was read before, and not left in request.body; let proxyHandler read it',
  );
}
