import { once } from 'node:events';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import type { ProxyHandler } from '../../src/sinks/proxyHandler.js';

/** One way into a handler. */
export interface ProxyDoor {
  readonly name: string;
  readonly open: (proxy: ProxyHandler) => RequestListener;
}

/** Both doors, behind real sockets: the second as platforms of the Fetch API serve it. */
export const proxyDoors: readonly ProxyDoor[] = [
  {
    name: 'node',
    open:
      ({ node }) =>
      (request, response) =>
        void node(request, response),
  },
  {
    name: 'fetch',
    open:
      ({ fetch }) =>
      (request, response) =>
        void serveThrough(fetch, request, response),
  },
];

/** Serves a handler of the Fetch API, request bodies and all. */
export async function serveThrough(
  fetch: ProxyHandler['fetch'],
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const left = new AbortController();
  response.once('close', () => {
    if (!response.writableFinished) left.abort();
  });
  const { method = 'GET', url = '' } = request;
  const hasBody = method !== 'GET' && method !== 'HEAD';
  let asked: Request;
  try {
    asked = new Request(`http://server.test${url}`, {
      method,
      headers: Object.entries(request.headersDistinct).flatMap(([name, values = []]) =>
        values.map((value): [string, string] => [name, value]),
      ),
      signal: left.signal,
      ...(hasBody && { body: Readable.toWeb(request) as ReadableStream, duplex: 'half' }),
    });
  } catch {
    response.writeHead(400).end(); // as platforms do where there is no URL in it
    return;
  }
  const answer = await fetch(asked);
  if (left.signal.aborted) return;
  response.writeHead(answer.status, [...answer.headers].flat());
  response.flushHeaders();
  const reader = answer.body?.getReader();
  left.signal.addEventListener('abort', () => {
    reader?.cancel().catch(() => undefined); // it is errored already where the handler has cut it
  });
  try {
    for (;;) {
      const step = await reader?.read();
      if (step === undefined || step.done) break;
      const { value } = step;
      if (!response.write(value)) await once(response, 'drain', { signal: left.signal });
    }
    response.end();
  } catch {
    response.destroy(); // the handler has errored the body, or the page has left
  }
}
