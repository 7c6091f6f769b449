import type { CommandDefinition } from '../commandDefinition.js';
import { demo, type DemoOptions } from '../demo.js';
import { wholeNumber } from '../parsers.js';

export const demoCommand: CommandDefinition<DemoOptions> = {
  name: 'demo',
  about: 'stream from three providers at once, played by a server in this process: no key, no network',
  flags: [
    { flags: '-o, --out <dir>', about: 'folder for the three files', default: 'millrace-demo', values: 'folders' },
    {
      flags: '--pace <ms>',
      about: 'milliseconds between two frames; 0 for full speed',
      default: 30,
      parse: wholeNumber(0),
    },
  ],
  sections: [
    {
      title: 'What it shows',
      lines: [
        'Each stream goes to a file of its own, which an earlier run’s files make way for. One stream is cut on purpose: its',
        'receipt says interrupted and its file stays .partial. The exit code is 0 all the same; after Ctrl-C it is 130.',
      ],
    },
  ],
  examples: [
    { line: 'millrace demo', does: 'three streams, and their receipts' },
    { line: 'millrace demo --out /tmp/streams --pace 60', does: 'slower, and elsewhere' },
    { line: 'millrace demo | cat', does: 'lines for a log, without colours' },
  ],
  exitCodes: [
    ['0', 'shown'],
    ['1', 'a stream failed that should not'],
    ['2', 'bad usage'],
    ['4', 'a file could not be written'],
    ['130', 'stopped with Ctrl-C'],
  ],
  action: (_, options, context) => demo(options, context),
};
