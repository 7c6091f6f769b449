import { channel } from 'node:diagnostics_channel';
import process from 'node:process';
import { Readable } from 'node:stream';
import { nodeFiles } from './node/files.js';
import { acceptEncoding } from './node/decompress.js';
import { undiciTransport } from './node/undiciTransport.js';
import type { IO } from './io.js';

/** Node: undici, files, standard output. */
export const io: IO = {
  transport: undiciTransport,
  acceptEncoding,
  seesRedirects: true,
  files: nodeFiles,
  stdout: () => process.stdout,
  Readable,
  channel,
  warn: (message) => {
    process.emitWarning(message, 'MillraceWarning');
  },
};
