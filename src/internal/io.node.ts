import process from 'node:process';
import { Readable } from 'node:stream';
import { fetchTransport } from './fetchTransport.js';
import { acceptEncoding } from './node/decompress.js';
import { diagnosticChannels } from './node/diagnosticChannels.js';
import { explainFailure } from './node/explainFailure.js';
import { fetchFailure } from './node/fetchFailure.js';
import { nodeFiles } from './node/files.js';
import { openJournalFile } from './node/journalFile.js';
import { redirected } from './node/redirect.js';
import { openTerminal } from './node/terminal/openTerminal.js';
import { undiciTransport } from './node/undiciTransport.js';
import type { IO } from './io.js';

/** Node: undici, files, standard output. */
export const io: IO = {
  transport: undiciTransport,
  transportOn: (fetch) => fetchTransport(fetch, fetchFailure),
  explainFailure,
  acceptEncoding,
  seesRedirects: true,
  redirected,
  files: nodeFiles,
  openJournal: openJournalFile,
  stdout: () => process.stdout,
  terminal: openTerminal,
  Readable,
  telling: diagnosticChannels,
  warn: (message) => {
    process.emitWarning(message, 'MillraceWarning');
  },
};
