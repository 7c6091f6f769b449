import { startProviderServer } from '../../src/testing/startProviderServer.js';
import type { Served } from './soakChild.js';

const TEXT = 'The mill turns, and the water goes on its way. '.repeat(40);

/** A provider that answers every job with the same text, a page long. */
export async function soakJobs(): Promise<Served<{ readonly baseURL: string; readonly chars: number }, object>> {
  const server = await startProviderServer({ script: () => ({ text: TEXT }) });
  return { ready: { baseURL: server.baseURLs.polargrid, chars: TEXT.length }, state: () => ({}) };
}
