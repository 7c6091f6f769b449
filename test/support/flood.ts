import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Call } from '../../src/protocol/call.js';
import { openai } from '../../src/providers/index.js';
import type { TextOutput } from '../../src/internal/io.js';

/** What each frame brings. */
export const PIECE = 'abc. Def';

/** A server that answers every request with frames as fast as they are taken. */
export interface Flood {
  /** Asks for an answer; each of the first `cut` attempts is reset after three frames. */
  readonly ask: (cut?: number) => Call;
  readonly close: () => Promise<void>;
}

/** @param framesPerChunk - how many frames come in one chunk of the network */
export async function startFlood(frames: number, framesPerChunk = 1): Promise<Flood> {
  const frame = `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: PIECE } }] })}\n\n`;
  const chunk = frame.repeat(framesPerChunk);
  const cuts = new Map<string, number>();
  const pour = (response: ServerResponse, count: number, end: () => void): void => {
    let sent = 0;
    const go = (): void => {
      for (; sent < count; sent += framesPerChunk) {
        if (!response.write(chunk)) {
          sent += framesPerChunk;
          response.once('drain', go);
          return;
        }
      }
      end();
    };
    go();
  };
  const server = createServer((request, response) => {
    const key = String(request.headers['x-flood']);
    const cut = cuts.get(key) ?? 0;
    cuts.set(key, cut - 1);
    request.resume();
    request.on('end', () => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      if (cut > 0) pour(response, 3, () => response.destroy());
      else pour(response, frames, () => response.end('data: [DONE]\n\n'));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const baseURL = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
  let asked = 0;
  return {
    ask: (cut = 0) => {
      const key = String((asked += 1));
      cuts.set(key, cut);
      const api = openai({ apiKey: 'any', baseURL, headers: { 'x-flood': key } });
      return api.chat({ model: 'm', messages: [{ role: 'user', content: 'Go.' }] });
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => {
          resolve();
        });
        server.closeAllConnections();
      }),
  };
}

/** An output that takes one text when it is told to, and is full at `mark` of them. */
export class SlowOutput implements TextOutput {
  /** Characters that were taken. */
  taken = 0;
  readonly #mark: number;
  readonly #waiting: { readonly chars: number; readonly written: () => void }[] = [];
  readonly #drain: Set<() => void> = new Set();

  constructor(mark: number) {
    this.#mark = mark;
  }

  write(text: string, written: (error?: Error | null) => void): boolean {
    this.#waiting.push({ chars: text.length, written });
    return this.#waiting.length < this.#mark;
  }

  take(): void {
    const text = this.#waiting.shift();
    if (text === undefined) return;
    this.taken += text.chars;
    text.written();
    if (this.#waiting.length === 0) for (const drain of [...this.#drain]) drain();
  }

  on(event: 'drain' | 'close' | 'error', listener: (() => void) | ((error: Error) => void)): this {
    if (event === 'drain') this.#drain.add(listener as () => void);
    return this;
  }

  off(event: 'drain' | 'close' | 'error', listener: (() => void) | ((error: Error) => void)): this {
    if (event === 'drain') this.#drain.delete(listener as () => void);
    return this;
  }
}
