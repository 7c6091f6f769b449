import type { IncomingMessage, ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';

/** One request of the page, and the answer that the test gives to it, in frames of chat completions. */
export interface PageRequest {
  /** Path and query. */
  readonly url: string;
  /** As JSON; undefined where there was none. */
  readonly body: unknown;
  /** Resolves when the connection, or the answer, is over. */
  readonly closed: Promise<void>;
  readonly isClosed: boolean;
  /** Sends the headers, and nothing more. */
  head(status?: number): void;
  /** Sends bytes as they are. */
  write(bytes: string): void;
  /** Sends a piece of the answer's text. */
  say(piece: string): void;
  /** Ends the answer as the provider does. */
  finish(): void;
  /** Loses the connection. */
  cut(): void;
}

/** Answers a page's requests step by step. */
export class Answering {
  readonly requests: PageRequest[] = [];
  #taken = 0;
  #wake: () => void = () => undefined;

  /** As `servePage` takes it. */
  readonly routes = async (request: IncomingMessage, response: ServerResponse): Promise<boolean> => {
    const { url = '/' } = request;
    if (url === '/elsewhere') {
      response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>Elsewhere</title>');
      return true;
    }
    if (!/^\/(answer|v1\/)/.test(url)) return false;
    const body = await text(request);
    this.requests.push(pageRequest(url, body, response));
    this.#wake();
    return true;
  };

  /** The next request, waiting for it where none has come. */
  async next(): Promise<PageRequest> {
    for (;;) {
      const request = this.requests[this.#taken];
      if (request !== undefined) {
        this.#taken += 1;
        return request;
      }
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

/** A frame of a chat completion. */
export function chatFrame(delta: Readonly<Record<string, unknown>>, finish: string | null = null): string {
  return `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;
}

function pageRequest(url: string, body: string, response: ServerResponse): PageRequest {
  let isClosed = false;
  const closed = new Promise<void>((resolve) => {
    response.once('close', () => {
      isClosed = true;
      resolve();
    });
  });
  const head = (status = 200): void => {
    if (response.headersSent) return;
    response.writeHead(status, { 'content-type': 'text/event-stream' }).flushHeaders();
  };
  const write = (bytes: string): void => {
    head();
    response.write(bytes);
  };
  return {
    url,
    body: body === '' ? undefined : (JSON.parse(body) as unknown),
    closed,
    get isClosed() {
      return isClosed;
    },
    head,
    write,
    say: (piece) => {
      write(chatFrame({ content: piece }));
    },
    finish: () => {
      write(`${chatFrame({}, 'stop')}data: [DONE]\n\n`);
      response.end();
    },
    cut: () => {
      response.destroy();
    },
  };
}
