import type { CommandDefinition } from '../commandDefinition.js';
import { CHAT_PROVIDERS, DIALECT_NAMES, DIALECTS } from '../dialects.js';
import { UsageError } from '../exitCodes.js';
import { wholeNumber } from '../parsers.js';
import { replay, type ReplayOptions } from '../replay.js';

export const replayCommand: CommandDefinition<ReplayOptions> = {
  name: 'replay',
  about: 'show what a captured stream decodes to, and where a broken one broke; nothing is asked',
  arguments: [
    {
      syntax: '[file]',
      about:
        'the body as it came, perhaps behind its HTTP head (curl -i); - reads standard input, as does nothing where that is a pipe',
      values: 'files',
    },
  ],
  flags: [
    {
      flags: '--dialect <name>',
      about: 'how it is decoded, see below',
      choices: DIALECT_NAMES,
      usually: 'told from what is in it',
      values: () =>
        DIALECT_NAMES.map((value) => ({
          value,
          about: DIALECTS.get(value)?.about ?? 'chat, as this provider writes it',
        })),
    },
    { flags: '--json', about: 'print every stream event as a line of JSON', conflicts: ['text'] },
    { flags: '--text', about: 'print the text of the answer, and no more' },
    { flags: '--pace <ms>', about: 'pause so long behind each frame', default: 0, parse: wholeNumber(0) },
  ],
  sections: [
    {
      title: 'What it prints',
      lines: [
        'A line for each event: its type, and what it holds. Behind it, on standard error, how the stream ended, its counts',
        'and its tokens. A capture that broke is decoded up to there; the number and the bytes of the frame are told. Bytes',
        'count from the beginning of the file. Without --dialect a pipe is shown when its first 1,048,576 bytes, or all of it, have come.',
      ],
    },
    {
      title: 'Dialects',
      isTable: true,
      lines: [...DIALECTS].map(([name, { about }]) => `${name.padEnd(18)} ${about}`),
    },
    {
      title: 'Copies of chat',
      lines: [
        'The name of a provider decodes chat as that provider writes it, which matters where thinking stands inside of the',
        `text (<think>): ${CHAT_PROVIDERS.join(', ')}.`,
      ],
    },
  ],
  examples: [
    { line: 'millrace replay answer.sse', does: 'what is in this file?' },
    { line: 'millrace replay answer.sse --text > answer.md', does: 'only the text' },
    { line: `millrace replay answer.sse --json | jq 'select(.type == "usage")'`, does: 'for a program' },
    { line: 'curl -sNi https://api.example/stream | millrace replay - --dialect chat', does: 'live, as it comes' },
    { line: 'millrace replay task.ndjson --dialect inferencesh-task --pace 40', does: 'slow enough to watch' },
  ],
  exitCodes: [
    ['0', 'the answer is whole (or the reader of a pipe had enough)'],
    ['1', 'failed: the stream reports a failure, a frame is malformed, or the capture is an HTTP error'],
    ['2', 'bad usage: no such file, or no dialect shows'],
    ['3', 'interrupted: the capture ends before the answer does'],
    ['130', 'stopped with Ctrl-C'],
  ],
  action: async ([file], options, context) => {
    if (file === undefined && context.stdin.isTTY === true) {
      throw new UsageError('which capture? Give a file, or - for standard input');
    }
    return replay(file ?? '-', options, context);
  },
};
