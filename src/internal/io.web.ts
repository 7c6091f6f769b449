import { fetchTransport } from './fetchTransport.js';
import type { IO } from './io.js';

/** Browsers, workers and other places without Node: `fetch`, no files, no standard output. */
export const io: IO = {
  transport: fetchTransport((url, init) => fetch(url, init)),
  acceptEncoding: undefined,
  seesRedirects: false,
  files: undefined,
  stdout: undefined,
  Readable: undefined,
  channel: undefined,
  warn: (message) => {
    console.warn(message);
  },
};
