import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Observable } from 'rxjs';
import type { RelayOptions } from '../../src/internal/relay.js';
import { responseFrom } from '../../src/sinks/responseFrom.js';
import { toNodeResponse } from '../../src/sinks/toNodeResponse.js';
import type { Receipt, StreamEvent } from '../../src/types.js';
import { serveNode } from './webServer.js';

/** What became of the streams of one server. */
export interface Told {
  readonly receipts: Receipt[];
  /** The receipt that comes next, if none of them was waited for yet. */
  nextReceipt(): Promise<Receipt>;
}

type Make = (request: IncomingMessage) => Observable<StreamEvent | string>;
type Tell = (receipt: Receipt) => void;

/** One way to answer with a stream, behind a server of Node's. */
export interface RelayDoor {
  readonly name: string;
  readonly answer: (
    make: Make,
    options: RelayOptions,
    tell: Tell,
  ) => (req: IncomingMessage, res: ServerResponse) => void;
}

/** Both doors; the second as platforms of the Fetch API serve it. */
export const relayDoors: readonly RelayDoor[] = [
  {
    name: 'toNodeResponse',
    answer: (make, options, tell) => (req, res) => {
      make(req)
        .pipe(toNodeResponse(res, options))
        .subscribe({
          next: tell,
          error: (error: unknown) => {
            tell((error as { receipt: Receipt }).receipt);
          },
        });
    },
  },
  {
    name: 'responseFrom',
    answer: (make, options, tell) => (req, res) => {
      void serveFetch((request) => responseFrom(make(req), { ...options, request, onReceipt: tell }), req, res);
    },
  },
];

/** A server whose every request is answered with a stream. */
export async function relay(
  door: RelayDoor,
  make: Make,
  options: RelayOptions = {},
): Promise<Told & { readonly url: string; readonly port: number }> {
  const receipts: Receipt[] = [];
  const waiting: Tell[] = [];
  let taken = 0;
  const tell = (receipt: Receipt): void => {
    receipts.push(receipt);
    const next = waiting.shift();
    if (next === undefined) return;
    taken += 1;
    next(receipt);
  };
  const { url, port } = await serveNode(door.answer(make, options, tell));
  return {
    url,
    port,
    receipts,
    nextReceipt: () =>
      new Promise((resolve) => {
        const receipt = receipts[taken];
        if (receipt === undefined) waiting.push(resolve);
        else {
          taken += 1;
          resolve(receipt);
        }
      }),
  };
}

/** Serves a handler of the Fetch API with Node, as small as it can be. */
export async function serveFetch(
  handler: (request: Request) => Promise<Response> | Response,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  const left = new AbortController();
  const body: { reader?: ReadableStreamDefaultReader<Uint8Array> | undefined } = {};
  res.on('close', () => {
    if (res.writableFinished) return;
    left.abort();
    body.reader?.cancel().catch(() => undefined); // it may have failed already, which was told
  });
  const headers = Object.entries(req.headers).map(([name, value]): [string, string] => [name, String(value)]);
  const { method = 'GET', url = '/' } = req;
  const response = await handler(new Request(`http://127.0.0.1${url}`, { method, headers, signal: left.signal }));
  res.writeHead(response.status, Object.fromEntries(response.headers));
  const reader = response.body?.getReader();
  body.reader = reader;
  if (reader === undefined) {
    res.end();
    return;
  }
  res.flushHeaders();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      if (!res.write(value) && !res.destroyed) {
        await new Promise<void>((resolve) => {
          const go = (): void => {
            res.off('drain', go).off('close', go);
            resolve();
          };
          res.on('drain', go).on('close', go);
        });
      }
    }
    res.end();
  } catch {
    // As platforms do: a body that errors ends the connection.
    res.socket?.destroySoon();
  }
}
