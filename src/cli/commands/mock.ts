import type { CommandDefinition } from '../commandDefinition.js';
import { mock, type MockOptions } from '../mock.js';
import { port, wholeNumber } from '../parsers.js';

export const mockCommand: CommandDefinition<MockOptions> = {
  name: 'mock',
  about: 'start a server that answers as the providers do, for work on a client',
  flags: [
    { flags: '--port <n>', about: 'port on 127.0.0.1; 0 for a free one', default: 0, parse: port },
    {
      flags: '--pace <ms>',
      about: 'milliseconds between two frames; 0 for full speed',
      default: 20,
      parse: wholeNumber(0),
    },
    { flags: '--no-auth', about: 'ask for no key' },
    { flags: '--cors', about: 'let pages of any origin read the answers' },
  ],
  sections: [
    {
      title: 'What it answers',
      lines: [
        'It listens on 127.0.0.1 only and sends the same text for the same request. It tells its address for each provider, for',
        '--base-url or a config file. Any key will do but "invalid", which is answered with 401. Ctrl-C ends it, with exit code 0.',
      ],
    },
  ],
  examples: [
    { line: 'millrace mock', does: 'on a free port, which it tells' },
    { line: 'millrace mock --port 8787 --cors --no-auth', does: 'for a page under work' },
    { line: 'millrace mock --pace 200', does: 'slow enough to watch' },
  ],
  exitCodes: [
    ['0', 'stopped with Ctrl-C, since nothing else ends it'],
    ['1', 'it could not listen, or broke'],
    ['2', 'bad usage'],
  ],
  action: (_, options, context) => mock(options, context),
};
