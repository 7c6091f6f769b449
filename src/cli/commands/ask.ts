import { ask, type AskOptions } from '../ask.js';
import type { CommandDefinition } from '../commandDefinition.js';
import { applyConfig, loadConfig } from '../config.js';
import { EXIT_CODES } from '../exitCodes.js';
import { jsonObject, wholeNumber } from '../parsers.js';
import {
  BASE_URL,
  CONFIG,
  CONFIG_FILES,
  ENABLE_THINKING,
  KEY_ENV,
  KEY_VARIABLES,
  MODE,
  MODEL,
  PLACES,
  PROVIDER,
  PROVIDER_NOTES,
  PROVIDERS_SECTION,
  SYSTEM,
  TEMPERATURE,
} from './callFlags.js';

/** As the flags say it: what is left out may stand in the config file. */
type AskFlags = Omit<AskOptions, 'provider'> & { readonly provider?: string; readonly config?: string };

export const askCommand: CommandDefinition<AskFlags> = {
  name: 'ask',
  about: 'ask one provider; the answer goes to stdout, or to a file, as it is made',
  arguments: [
    { syntax: '[prompt]', about: 'what to ask; - reads it from standard input, as does nothing where that is a pipe' },
  ],
  flags: [
    PROVIDER,
    MODEL,
    SYSTEM,
    {
      flags: '--max-tokens <n>',
      about: 'at most so many tokens; anthropic: 4096 unless given',
      parse: wholeNumber(1),
    },
    TEMPERATURE,
    ENABLE_THINKING,
    MODE,
    BASE_URL,
    KEY_ENV,
    ...PLACES,
    { flags: '--input <json>', about: 'inferencesh: more fields of the app’s input', parse: jsonObject },
    {
      flags: '-o, --out <file>',
      about: 'write to a file; it has its name only when the answer is whole',
      values: 'files',
    },
    {
      flags: '--if-exists <what>',
      about: 'what to do when the file is there',
      choices: ['error', 'skip', 'overwrite'],
      usually: 'error',
    },
    { flags: '--footer', about: 'end the file with a line on what made it' },
    {
      flags: '--json',
      about: 'print every stream event as a line of JSON',
      conflicts: ['out', 'footer', 'ifExists'],
    },
    {
      flags: '--thinking <how>',
      about: 'the model’s reasoning; dim is for terminals with colours, elsewhere it is hidden',
      choices: ['hide', 'dim', 'show'],
      default: 'dim',
    },
    { flags: '--receipt', about: 'print the receipt on stderr, also where that is no terminal' },
    CONFIG,
  ],
  sections: [PROVIDERS_SECTION, PROVIDER_NOTES],
  examples: [
    {
      line: `millrace ask -p polargrid -m qwen-2.5-7b --max-tokens 800 'Why do rivers meander?'`,
      does: 'the answer, as it is made',
    },
    { line: `millrace ask -p anthropic -m claude-sonnet-4-6 'Why do rivers meander?'`, does: 'another provider' },
    {
      line: `millrace ask -p ollama -m qwen3 --enable-thinking --thinking show 'How many mills are there?'`,
      does: 'on this machine, without a key, with its reasoning',
    },
    {
      line: `git diff | millrace ask -p infron -m deepseek/deepseek-chat -s 'Review this change.'`,
      does: 'the prompt from a pipe',
    },
    {
      line: `millrace ask -p inferencesh --app openrouter/claude-haiku-45 'Name three mills.' -o mills.md --if-exists overwrite`,
      does: 'into a file',
    },
    {
      line: `millrace ask -p gateway --service google-gemini -m gemini_flash --json 'Hi' | jq -r 'select(.type == "text").text'`,
      does: 'for a program',
    },
    {
      line: `WORK_KEY=... millrace ask -p infernet -m qwen2.5:14b --key-env WORK_KEY 'Hello'`,
      does: 'with a key of another name',
    },
  ],
  environment: KEY_VARIABLES,
  files: [
    ['FILE.partial', 'with --out FILE: the answer while it is made, and what came of one that was cut'],
    ...CONFIG_FILES,
  ],
  exitCodes: EXIT_CODES,
  action: async ([prompt], { config: file, ...given }, context) => {
    const config = await loadConfig(context, file);
    return ask(prompt, applyConfig(given, config), context);
  },
};
