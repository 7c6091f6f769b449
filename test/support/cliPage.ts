import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';
import {
  aboutFlag,
  type ArgumentDefinition,
  type CommandDefinition,
  type Example,
  type Explained,
  type FlagDefinition,
  type HelpSection,
  takesValue,
} from '../../src/cli/commandDefinition.js';
import { COMMANDS } from '../../src/cli/commands.js';
import { configSchema } from '../../src/cli/configSchema.js';
import { EXIT_CODES } from '../../src/cli/exitCodes.js';
import { COMMON_ENVIRONMENT, MAIN_ABOUT, MAIN_EXAMPLES } from '../../src/cli/helpText.js';

/** docs/cli.md: made from the definitions of the commands, as their help is. */

export const DOCUMENT: string = fileURLToPath(new URL('../../docs/cli.md', import.meta.url));
export const COMMAND = 'npm run docs:cli';

/** The config file of the page, which the tests read. */
export const CONFIG_EXAMPLE = `# millrace.config.yaml
providers:
  polargrid: # a provider: what holds wherever it is asked
    keyEnv: WORK_POLARGRID_KEY
    model: qwen-2.5-7b
  house: # a name of your own: millrace ask -p house 'Hello'
    use: openaiCompatible
    baseUrl: http://localhost:8000/v1
    keyEnv: HOUSE_KEY
    model: llama-3.3-70b
    maxOutputTokens: 2000

defaults: # where neither flag nor job nor the provider's entry says it
  provider: polargrid
  temperature: 0.3

run: # as the flags of millrace run
  concurrency: 50
  perHost: 20
  retries: 8
  timeoutFirstContent: 2m
  publishOn: [stop, tool-calls]
  maxCost: 25
`;

/** Sections that stand in several helps, and here once. */
const SHARED: ReadonlySet<string> = new Set(['Providers', 'Keys and places']);

/** The page, formatted as the project's files are. */
export async function cliPage(): Promise<string> {
  const page = [
    '# The command line',
    `<!-- Made by \`${COMMAND}\` from the definitions in src/cli. Change those. -->`,
    `\`millrace\`: ${sentence(MAIN_ABOUT)}`,
    code('text', ['millrace <command> [options] [arguments]', 'millrace --help', 'millrace --version']),
    listOf(COMMANDS.map(({ name, about }) => `[\`millrace ${name}\`](#millrace-${name}): ${about}`)),
    `Further down: [providers and keys](#providers), [the config file](#the-config-file), [environment](#environment),
[exit codes](#exit-codes). \`millrace <command> --help\` shows the same on a terminal. A misspelt command or flag is refused with
the nearest one that there is.`,
    examples(MAIN_EXAMPLES),
    ...COMMANDS.flatMap(chapter),
    ...COMMANDS.flatMap(({ sections = [] }) => sections)
      .filter(({ title }, index, all) => SHARED.has(title) && all.findIndex((each) => each.title === title) === index)
      .flatMap((each) => [`## ${each.title}`, textOf(each)]),
    ...CONFIG_CHAPTER,
    '## Environment',
    explained([...uniqueBy(COMMANDS.flatMap(({ environment = [] }) => environment)), ...COMMON_ENVIRONMENT]),
    '## Exit codes',
    'What they mean everywhere; each command has its own words for them above.',
    explained(EXIT_CODES),
  ];
  return format(page.join('\n\n'), { ...(await resolveConfig(DOCUMENT)), parser: 'markdown' });
}

function chapter(command: CommandDefinition): readonly string[] {
  const { name, about, sections = [], environment, files } = command;
  const part = (title: string, text: string): readonly string[] => [`### ${name}: ${title}`, text];
  return [
    `## millrace ${name}`,
    sentence(about),
    code('text', [synopsis(command)]),
    ...sections
      .filter(({ title }) => !SHARED.has(title))
      .flatMap((each) => part(`${each.title[0]?.toLowerCase() ?? ''}${each.title.slice(1)}`, textOf(each))),
    ...(command.arguments === undefined ? [] : part('arguments', explained(command.arguments.map(argument)))),
    ...(command.flags.length === 0 ? [] : part('options', explained(command.flags.map(flag)))),
    ...part('examples', examples(command.examples)),
    ...(environment === undefined ? [] : part('environment', explained(environment))),
    ...(files === undefined ? [] : part('files', explained(files))),
    ...part('exit codes', explained(command.exitCodes)),
  ];
}

function synopsis({ name, arguments: places = [], flags }: CommandDefinition): string {
  const options = flags.length === 0 ? [] : ['[options]'];
  return ['millrace', name, ...options, ...places.map(({ syntax }) => syntax)].join(' ');
}

function argument({ syntax, about, choices }: ArgumentDefinition): Explained {
  return [syntax.replace(/[[\]<>]/g, ''), [about, choicesOf(choices)].join('')];
}

function flag(definition: FlagDefinition): Explained {
  const { choices, usually } = definition;
  const value = definition.default ?? usually;
  const without = value === undefined ? '' : `. Default: ${String(value)}`;
  return [definition.flags, `${aboutFlag(definition)}${takesValue(definition) ? choicesOf(choices) : ''}${without}`];
}

function choicesOf(choices: readonly string[] | undefined): string {
  return choices === undefined ? '' : `. One of ${choices.map((choice) => `\`${choice}\``).join(', ')}`;
}

function textOf({ lines, isTable }: HelpSection): string {
  return isTable === true ? code('text', lines) : escaped(lines.join(' '));
}

function examples(shown: readonly Example[]): string {
  return code(
    'sh',
    shown.flatMap(({ line, does }, index) => [...(index === 0 ? [] : ['']), `# ${does}`, line]),
  );
}

/** A list of names and what they are: a table would cut long names. */
function explained(list: readonly Explained[]): string {
  return listOf(list.map(([name, about]) => `\`${name}\`: ${about}`));
}

function listOf(items: readonly string[]): string {
  return items.map((item) => `- ${escaped(item)}`).join('\n');
}

function code(language: string, lines: readonly string[]): string {
  return `\`\`\`${language}\n${lines.join('\n')}\n\`\`\``;
}

/** What Markdown would take for a tag. */
function escaped(text: string): string {
  return text
    .split('`')
    .map((part, index) => (index % 2 === 0 ? part.replaceAll('<', '\\<') : part))
    .join('`');
}

function sentence(text: string): string {
  const whole = `${text[0]?.toUpperCase() ?? ''}${text.slice(1)}`;
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}

function uniqueBy(list: readonly Explained[]): readonly Explained[] {
  return list.filter(([name], index) => list.findIndex((each) => each[0] === name) === index);
}

function fields(schema: { readonly shape: Readonly<Record<string, unknown>> }): string {
  return Object.keys(schema.shape)
    .map((name) => `\`${name}\``)
    .join(', ');
}

const { providers, defaults, run } = configSchema.shape;

const CONFIG_CHAPTER: readonly string[] = [
  '## The config file',
  `\`ask\`, \`run\` and \`doctor\` read \`millrace.config.json\`, \`millrace.config.yaml\` or \`millrace.config.yml\` in the working folder, or the
file that \`--config\` or the variable \`MILLRACE_CONFIG\` names. What a flag or a job says stands over it.`,
  code('yaml', CONFIG_EXAMPLE.trimEnd().split('\n')),
  listOf([
    `\`providers\`: settings under the name of a provider, or under a name of your own with \`use\`: ${fields(providers.unwrap().valueType)}.`,
    `\`defaults\`: for whatever the entry of the provider does not say: ${fields(defaults.unwrap())}. What belongs to one provider (\`model\`, \`mode\`, \`region\`, \`service\`, \`app\`, \`agent\`) holds for \`provider\` alone, where that is given. What a provider has no use for is left out.`,
    `\`run\`: the flags of \`millrace run\`, times as there: ${fields(run.unwrap())}.`,
    '`allowKeysInFile`: see below.',
  ]),
  'A field that nobody knows, and a value that is none, is refused with its line and the name that was meant.',
  '### Keys in the config file',
  `A key does not belong into a file: \`keyEnv\` names the environment variable that holds it. What looks like a key is refused, by its name
or by its form, and is not shown. Who wants it there all the same writes \`allowKeysInFile: true\` and \`key\` in the provider's entry; then
nobody else may read the file (\`chmod 600\`), or it is refused.`,
  `A config file that nobody named, since it lay in the folder, sends no key to a host that is neither the provider's own nor this
machine: a folder that somebody else has made must not send your key to its maker. Name the file, with \`--config\` or
    \`MILLRACE_CONFIG\`, where that is meant.`,
];
