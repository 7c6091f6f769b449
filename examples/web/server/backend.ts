import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Call, fromCall, toNodeResponse } from 'millrace';
import * as z from 'zod/mini';
import { Asked } from './calls.js';
import { readJSON } from './readJSON.js';
import { tellRetries } from './tellRetries.js';

/** What a backend knows. */
export interface BackendOptions {
  readonly calls: ReadonlyMap<string, (asked: Asked) => Call>;
  /** How long a lost connection is left alone before it is opened again. */
  readonly retryAfterMs: number;
}

/**
 * The page's own server: it asks the providers and forwards each answer as it comes. A page that leaves, or stops, closes the
 * provider's socket and cancels the task; a page that reads slowly slows the provider down.
 */
export function createBackend(options: BackendOptions): (request: IncomingMessage, response: ServerResponse) => void {
  return (request, response) => {
    answer(request, response, options).catch((error: unknown) => {
      console.error(error);
      response.destroy();
    });
  };
}

async function answer(request: IncomingMessage, response: ServerResponse, options: BackendOptions): Promise<void> {
  const { url: path = '/', method } = request;
  const callFor = options.calls.get(path);
  if (callFor === undefined || method !== 'POST') {
    response.writeHead(404).end();
    return;
  }
  const asked = z.safeParse(Asked, await readJSON(request));
  if (!asked.success) {
    response.writeHead(400, { 'content-type': 'text/plain' }).end(z.prettifyError(asked.error));
    return;
  }
  const call = callFor(asked.data);
  tellRetries((onRetry) =>
    fromCall(call, {
      // Work that runs on without its reader is found again. Other answers would begin anew, so they may fail.
      retry: {
        count: call.resume?.by === 'reattach' ? 3 : 0,
        delay: { initialMs: options.retryAfterMs },
        random: () => 0.99, // the whole pause, so that it is seen here; leave it out where many ask at once
        onRetry,
      },
    }),
  )
    // At once, so that the page sees the states before the first word.
    .pipe(toNodeResponse(response, { headersAfterMs: 0, events: { log: true, cost: true } }))
    .subscribe({
      next: ({ outcome, by = 'itself', chars }) => {
        console.log(`${path}: ${outcome} by ${by} after ${String(chars)} characters`);
      },
      error: (error: unknown) => {
        console.log(`${path}: ${String(error)}`);
      },
    });
}
