import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';

/** What a server of answers has seen. */
export interface AnswerServer {
  readonly url: string;
  /** Requests that were answered well, that were refused, and that were cut. */
  readonly counts: { answered: number; refused: number; cut: number };
  /** Requests under way, and the most there were. */
  running: number;
  most: number;
  /** When each request came, and what became of it, by `performance.now()`. */
  readonly seen: { readonly at: number; readonly status: number; readonly by: string }[];
}

/** How a server answers. */
export interface AnswerServerOptions {
  /** How long an answer takes. */
  readonly ms: () => number;
  /** So many at once, or a refusal. */
  readonly capacity?: number | undefined;
  /** Whether this request is refused, by its number, and for how long; undefined where it is not. */
  readonly refuse?: ((number: number) => number | undefined) | undefined;
}

/** Starts a server of chat answers on a free port; it is gone when the test is. */
export async function startAnswers({ ms, capacity = Infinity, refuse }: AnswerServerOptions): Promise<AnswerServer> {
  const answer = (response: ServerResponse): void => {
    const chunk = (delta: object, reason: string | null): string =>
      `data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason: reason }] })}\n\n`;
    response.end(`${chunk({ content: 'Yes.' }, null)}${chunk({}, 'stop')}data: [DONE]\n\n`);
  };
  let requests = 0;
  const server = createServer((request, response) => {
    requests += 1;
    const by = String(request.headers['x-process']);
    const askedMs = refuse?.(requests);
    const isRefused = askedMs !== undefined || state.running >= capacity;
    state.seen.push({ at: performance.now(), status: isRefused ? 429 : 200, by });
    request.resume();
    if (isRefused) {
      state.counts.refused += 1;
      response.writeHead(429, askedMs === undefined ? {} : { 'retry-after-ms': String(askedMs) }).end();
      return;
    }
    state.running += 1;
    state.most = Math.max(state.most, state.running);
    let isOver = false;
    // Before the answer is: nobody can hear of it earlier.
    const end = (how: 'answered' | 'cut'): void => {
      if (isOver) return;
      isOver = true;
      state.running -= 1;
      state.counts[how] += 1;
    };
    response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
    const timer = setTimeout(() => {
      end('answered');
      answer(response);
    }, ms());
    response.on('close', () => {
      clearTimeout(timer);
      end('cut');
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(async () => {
    server.closeAllConnections();
    const over = once(server, 'close');
    server.close();
    await over;
  });
  const { port } = server.address() as AddressInfo; // a TCP server has an AddressInfo
  const state: AnswerServer = {
    url: `http://127.0.0.1:${String(port)}`,
    counts: { answered: 0, refused: 0, cut: 0 },
    running: 0,
    most: 0,
    seen: [],
  };
  return state;
}
