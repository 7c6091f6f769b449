import { fetchTransport } from './fetchTransport.js';
import type { IO } from './io.js';

/** Browsers, workers and other places without Node: `fetch`, no files, no standard output. */
export const io: IO = {
  transport: fetchTransport((url, init) => fetch(url, init)),
  transportOn: fetchTransport,
  explainFailure: undefined,
  acceptEncoding: undefined,
  seesRedirects: false,
  redirected: undefined,
  files: undefined,
  openJournal: undefined,
  stdout: undefined,
  terminal: undefined,
  Readable: undefined,
  telling: undefined,
  warn: (message) => {
    console.warn(message);
  },
};
