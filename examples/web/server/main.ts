import type { IncomingMessage, ServerResponse } from 'node:http';
import { shutdown } from 'millrace';
import type { ProviderServer } from 'millrace/testing';
import { createBackend } from './backend.js';
import { createCalls } from './calls.js';
import { startStandIn } from './standIn.js';

/** The server's side of the example. */
export interface Backend {
  readonly answer: (request: IncomingMessage, response: ServerResponse) => void;
  /** Stops what is on its way, and cancels its work. */
  readonly close: () => Promise<void>;
}

/** @param paceMs - milliseconds between two frames of an answer */
export async function startBackend(paceMs: number): Promise<Backend> {
  const standIn = await startStandIn(paceMs);
  watch(standIn).catch(() => undefined); // it ends when the stand-in is closed
  return {
    answer: createBackend({ calls: createCalls(standIn.baseURLs), retryAfterMs: Math.max(600, paceMs * 60) }),
    close: async () => {
      await shutdown({ graceMs: 0 });
      await standIn.close();
    },
  };
}

/** Says what the providers see: who asked for what, and who ended it. */
async function watch(standIn: ProviderServer): Promise<void> {
  for (;;) {
    const { provider = '', method, path, ended } = await standIn.nextRequest();
    void ended.then((by) => {
      console.log(`  ${provider} ${method} ${path}: ${WHO[by]}`);
    });
  }
}

const WHO = { complete: 'answered', client: 'its reader left', server: 'cut' } as const;
