import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import process from 'node:process';
import type { Served } from './soakChild.js';

/** What a request wants, in its header `x-soak`. */
export type Order =
  /** So much text, as fast as it is taken. */
  | { readonly kind: 'flood'; readonly chars: number; readonly pieceChars: number }
  /** So many pieces, one every `everyMs`, the first after `afterMs`. Each is the moment at which it was sent. */
  | { readonly kind: 'paced'; readonly events: number; readonly everyMs: number; readonly afterMs: number };

/** What became of an answer so far. */
export interface Sent {
  /** Characters of text that the network was given. */
  readonly chars: number;
  /** How long the network took nothing more. */
  readonly waitedMs: number;
  readonly ms: number;
}

/** What the server says when it listens. */
export interface SoakReady {
  readonly baseURL: string;
}

/** What the server knows. */
export interface SoakState {
  /** All that were asked for, in their order. */
  readonly answers: readonly Sent[];
}

const FINISH = `data: ${JSON.stringify({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] })}\n\ndata: [DONE]\n\n`;

function frame(content: string): string {
  return `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content } }] })}\n\n`;
}

/** In milliseconds, by a clock that all processes share. */
function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

class Answer {
  chars = 0;
  readonly #begun = now();
  #waitedMs = 0;
  #waitingSince: number | undefined;
  #ended: number | undefined;

  sent(): Sent {
    const until = this.#ended ?? now();
    const waiting = this.#waitingSince === undefined ? 0 : until - this.#waitingSince;
    return { chars: this.chars, waitedMs: this.#waitedMs + waiting, ms: until - this.#begun };
  }

  end(): void {
    this.#ended = now();
  }

  async wait(response: ServerResponse): Promise<void> {
    this.#waitingSince = now();
    await new Promise<void>((resolve) => {
      const go = (): void => {
        response.off('drain', go).off('close', go);
        resolve();
      };
      response.once('drain', go).once('close', go);
    });
    this.#waitedMs += now() - this.#waitingSince;
    this.#waitingSince = undefined;
  }
}

async function flood(response: ServerResponse, answer: Answer, chars: number, pieceChars: number): Promise<void> {
  const piece = frame('The channel leads the river to the wheel.\n'.repeat(pieceChars).slice(0, pieceChars));
  const last = frame('.'.repeat(chars % pieceChars));
  while (answer.chars < chars && !response.destroyed) {
    const isLast = chars - answer.chars < pieceChars;
    answer.chars += isLast ? chars % pieceChars : pieceChars;
    if (!response.write(isLast ? last : piece)) await answer.wait(response);
  }
  response.end(FINISH);
}

function pace(response: ServerResponse, answer: Answer, events: number, everyMs: number, afterMs: number): void {
  let left = events;
  let timer: NodeJS.Timeout | undefined;
  const send = (): void => {
    if (left === 0) {
      clearInterval(timer);
      response.end(FINISH);
      return;
    }
    left -= 1;
    answer.chars += 1;
    response.write(frame(`${now().toFixed(3)} `));
  };
  timer = setTimeout(() => {
    send();
    timer = setInterval(send, everyMs);
  }, afterMs);
  response.on('close', () => {
    clearTimeout(timer);
  });
}

/** Answers as OpenAI's chat does, what each request orders. */
export async function soakServer(): Promise<Served<SoakReady, SoakState>> {
  const answers: Answer[] = [];
  const server = createServer((request, response) => {
    const order = JSON.parse(String(request.headers['x-soak'])) as Order; // written by the test
    const answer = new Answer();
    answers.push(answer);
    request.resume();
    response.on('close', () => {
      answer.end();
    });
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.flushHeaders();
    if (order.kind === 'paced') pace(response, answer, order.events, order.everyMs, order.afterMs);
    else void flood(response, answer, order.chars, order.pieceChars);
  });
  // It never closes a connection by itself: a request on its way there would be lost.
  server.requestTimeout = 0;
  server.keepAliveTimeout = 0;
  server.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 });
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo; // it listens on TCP
  return {
    ready: { baseURL: `http://127.0.0.1:${String(port)}` },
    state: () => ({ answers: answers.map((each) => each.sent()) }),
  };
}
