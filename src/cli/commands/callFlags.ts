import type { Candidate, Explained, FlagDefinition, Given, HelpSection } from '../commandDefinition.js';
import { temperature } from '../parsers.js';
import { PROVIDER_NAMES, type ProviderName, PROVIDERS } from '../providerCall.js';

/** The flags that say who is asked, and how: those of every command that asks. */

const providers: readonly Candidate[] = PROVIDER_NAMES.map((name) => ({
  value: name,
  about: PROVIDERS[name].keyEnv ?? 'no key',
}));

/** The modes of the provider that is named before, or of all. */
function modes(given: Given): readonly Candidate[] {
  const named = given.get('provider')?.toLowerCase();
  const names = PROVIDER_NAMES.filter((name) => named === undefined || name.toLowerCase() === named);
  const values = new Set(names.flatMap((name) => PROVIDERS[name].modes));
  return [...values].map((value) => ({ value, about: namesWith(value, names) }));
}

function namesWith(mode: string, names: readonly ProviderName[]): string {
  const having = names.filter((name) => PROVIDERS[name].modes.includes(mode));
  return having.length > 3 ? `${having.slice(0, 3).join(', ')}, …` : having.join(', ');
}

/** What is completed wherever a provider is named. */
export const providerValues = (): readonly Candidate[] => providers;

export const PROVIDER: FlagDefinition = {
  flags: '-p, --provider <name>',
  about: 'whom to ask: a provider of the list below, or a name of the config file',
  values: providerValues,
};
export const MODE: FlagDefinition = {
  flags: '--mode <name>',
  about: 'the provider’s way of asking, see below',
  values: modes,
};
export const MODEL: FlagDefinition = { flags: '-m, --model <name>', about: 'the model, in the provider’s own name' };
export const BASE_URL: FlagDefinition = {
  flags: '--base-url <url>',
  about: 'where the API is, in place of the usual place',
};
export const KEY_ENV: FlagDefinition = {
  flags: '--key-env <name>',
  about: 'environment variable that holds the key',
};
export const PLACES: readonly FlagDefinition[] = [
  { flags: '--region <name>', about: 'polargrid: the edge, such as nyc-01' },
  { flags: '--service <name>', about: 'gateway: whose model it is' },
  { flags: '--app <name>', about: 'inferencesh: the app to run, namespace/name' },
  { flags: '--agent <name>', about: 'inferencesh: the agent to ask, namespace/name' },
];
export const SYSTEM: FlagDefinition = { flags: '-s, --system <text>', about: 'system prompt' };
export const TEMPERATURE: FlagDefinition = {
  flags: '--temperature <t>',
  about: 'how free the choice of words is',
  parse: temperature,
};
export const ENABLE_THINKING: FlagDefinition = {
  flags: '--enable-thinking',
  about: 'let a reasoning model think (infron, gateway, polargrid, gemini, ollama)',
};
export const CONFIG: FlagDefinition = {
  flags: '--config <file>',
  about: 'settings: providers, their base URLs, the variables of their keys',
  usually: 'millrace.config.json, .yaml or .yml, where one is in the working folder',
  values: 'files',
};

/** Who can be asked, with which key and in which modes. */
export const PROVIDERS_SECTION: HelpSection = {
  title: 'Providers',
  isTable: true,
  lines: [
    'provider         key                       modes, the usual one first',
    ...PROVIDER_NAMES.map((name) => {
      const { keyEnv = '-', keyless = [], modes: all } = PROVIDERS[name];
      const ways = name === 'inferencesh' ? '--app or --agent' : all.join(', ');
      const key = keyEnv !== '-' && keyless.length === all.length ? `${keyEnv}, optional` : keyEnv;
      return `${name.padEnd(16)} ${key.padEnd(25)} ${ways}`;
    }),
  ],
};

export const PROVIDER_NOTES: HelpSection = {
  title: 'Keys and places',
  lines: [
    'azure and openaiCompatible (any other server that speaks OpenAI’s chat completions) need --base-url. For infernet’s',
    'native and openai modes it is the server’s origin. A key is never given on the command line: it is read from the',
    'variable in the list, or from the one that --key-env or the config file names.',
  ],
};

export const CONFIG_FILES: readonly Explained[] = [
  [
    'millrace.config.json, millrace.config.yaml, millrace.config.yml',
    'settings, read from the working folder unless --config names a file; see "The config file"',
  ],
];

export const KEY_VARIABLES: readonly Explained[] = [
  ['keys', 'in the variables of the list of providers'],
  ['MILLRACE_CONFIG', 'a config file, where --config is not given'],
  ['HTTP_PROXY, HTTPS_PROXY, NO_PROXY', 'the proxy that requests go through, and for whom they do not'],
];
