import { wrapText } from '../internal/textWidth.js';
import type { CommandDefinition, Example, Explained, HelpSection } from './commandDefinition.js';

/** The parts of a help text that commander does not make: what `--help` shows below the options. */

export const MAIN_ABOUT =
  'Streaming inference APIs as RxJS observables: try it, ask a provider, run a thousand prompts, look into a capture, or play a provider.';

export const MAIN_EXAMPLES: readonly Example[] = [
  { line: 'millrace demo', does: 'three streams in this process' },
  { line: `millrace ask -p polargrid -m qwen-2.5-7b 'Why do rivers meander?'`, does: 'one answer' },
  { line: 'millrace run jobs.jsonl --out answers', does: 'a folder of finished answers' },
  { line: 'millrace replay answer.sse', does: 'what a capture decodes to' },
  { line: 'millrace doctor polargrid', does: 'key, host and proxies looked at' },
  { line: 'millrace mock --port 8787 --cors', does: 'a server to work against' },
];

export const COMMON_ENVIRONMENT: readonly Explained[] = [
  ['MILLRACE_DEBUG', '1 adds a stack to errors'],
  ['NO_COLOR', 'any value takes colours away'],
];

/** @param columns - where lines are broken that may be */
export function mainHelp(columns: number): string {
  return `
${examples(MAIN_EXAMPLES)}

Environment:
${explained(COMMON_ENVIRONMENT, columns)}

'millrace <command> --help' shows more of each, and its exit codes.`;
}

/** @param columns - where lines are broken that may be */
export function commandHelp(definition: CommandDefinition, columns: number): string {
  const { sections = [], examples: shown, environment = [], files, exitCodes } = definition;
  const parts = [
    ...sections.map((section) => sectionText(section, columns)),
    examples(shown),
    `Environment:\n${explained([...environment, ...COMMON_ENVIRONMENT], columns)}`,
    ...(files === undefined ? [] : [`Files:\n${explained(files, columns)}`]),
    `Exit codes:\n${explained(exitCodes, columns)}`,
  ];
  return parts.map((part) => `\n${part}`).join('\n');
}

function sectionText({ title, lines, isTable }: HelpSection, columns: number): string {
  const shown = isTable === true ? lines : wrapText(lines.join(' '), columns - 2);
  return `${title}:\n${shown.map((line) => `  ${line}`).join('\n')}`;
}

/** A longer line has no remark beside it. */
const REMARK_COLUMN = 52;

function examples(shown: readonly Example[]): string {
  const lines = shown.map(({ line, does }) =>
    line.length <= REMARK_COLUMN ? `  $ ${line.padEnd(REMARK_COLUMN)}  # ${does}` : `  $ ${line}`,
  );
  return `Examples:\n${lines.join('\n')}`;
}

/** Names longer than that have a line of their own. */
const NAME_COLUMN = 35;

function explained(list: readonly Explained[], columns: number): string {
  const names = list.map(([name]) => name.length).filter((length) => length <= NAME_COLUMN);
  const width = Math.max(...names, 3) + 2;
  return list
    .map(([name, about]) => {
      const lines = wrapText(about, columns - width - 2);
      const indented = lines.join(`\n${' '.repeat(width + 2)}`);
      return name.length <= NAME_COLUMN
        ? `  ${name.padEnd(width)}${indented}`
        : `  ${name}\n${' '.repeat(width + 2)}${indented}`;
    })
    .join('\n');
}
