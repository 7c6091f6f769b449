import { InvalidArgumentError } from 'commander';
import type { CommandDefinition } from '../commandDefinition.js';
import { doctor, type DoctorOptions } from '../doctor/doctor.js';
import { UsageError } from '../exitCodes.js';
import { duration } from '../parsers.js';
import {
  BASE_URL,
  CONFIG,
  CONFIG_FILES,
  KEY_ENV,
  KEY_VARIABLES,
  MODE,
  MODEL,
  PLACES,
  PROVIDERS_SECTION,
  providerValues,
} from './callFlags.js';

export const doctorCommand: CommandDefinition<DoctorOptions> = {
  name: 'doctor',
  about: 'look for what keeps streams from streaming: Node, keys, hosts, certificates, proxies that collect',
  arguments: [
    {
      syntax: '[provider]',
      about:
        'whom to look at: a provider, or a name of the config file; else everybody with a key, and those of the config file',
      values: providerValues,
    },
  ],
  flags: [
    {
      flags: '--stream',
      about: 'ask the provider a small question, which costs some tokens, and look at how its answer comes',
    },
    {
      flags: '--url <url>',
      about: 'read this URL, without a key, and look at how it comes: your own server, behind its proxies',
      parse: httpURL,
      conflicts: ['stream'],
    },
    { ...MODEL, about: 'the model that --stream asks' },
    MODE,
    BASE_URL,
    KEY_ENV,
    ...PLACES,
    {
      flags: '--timeout <duration>',
      about: 'how long each step may take: 30s, 500ms, 2m; none for no limit',
      parse: duration,
      usually: '10s',
    },
    { flags: '--json', about: 'print one JSON document' },
    CONFIG,
  ],
  sections: [
    {
      title: 'What it looks at',
      lines: [
        'Node and the packages beneath; proxies of the environment; for each provider its key (that it is there: it is never',
        'shown), its place, name, port and certificate, and what it answers to a request without a key. With --stream or --url',
        'also how the pieces of an answer come: their number, the gaps between them (median, 99th percentile, the largest), and',
        'whether all came in one burst, as they do behind a proxy that collects. A wrong key, model or path shows with --stream',
        'alone. ✓ is well, ! is worth a look, ✗ is broken.',
      ],
    },
    PROVIDERS_SECTION,
  ],
  examples: [
    { line: 'millrace doctor', does: 'this machine, and whoever has a key' },
    { line: 'millrace doctor polargrid', does: 'one provider; nothing is asked of a model' },
    { line: 'millrace doctor polargrid --stream -m qwen-2.5-7b', does: 'does it stream, from here?' },
    { line: 'millrace doctor --url http://localhost:3000/api/answer', does: 'does my own server, from here?' },
    { line: `millrace doctor --json | jq '.checks[] | select(.verdict != "ok")'`, does: 'for a program' },
  ],
  environment: KEY_VARIABLES,
  files: CONFIG_FILES,
  exitCodes: [
    ['0', 'nothing is broken'],
    ['1', 'something is'],
    ['2', 'bad usage: an unknown provider, a wrong config file'],
    ['130', 'stopped with Ctrl-C'],
  ],
  action: ([provider], options, context) => {
    if (provider === undefined && options.stream === true) {
      throw new UsageError(
        '--stream asks a question that costs tokens: say whom, as in millrace doctor polargrid --stream -m MODEL',
      );
    }
    if (provider !== undefined && options.url !== undefined)
      throw new UsageError('--url is looked at without a provider');
    return doctor(provider, options, context);
  },
};

function httpURL(value: string): URL {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '') {
    throw new InvalidArgumentError('It must be an http or https URL without credentials.');
  }
  return url;
}
