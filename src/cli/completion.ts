import {
  type Candidate,
  type CommandDefinition,
  type FlagDefinition,
  longName,
  takesValue,
  type Values,
} from './commandDefinition.js';
import { COMMANDS } from './commands.js';
import type { CLIContext } from './context.js';
import { EXIT, type ExitCode } from './exitCodes.js';

/** What may stand at the end of a command line. */
export interface Completions {
  readonly candidates: readonly Candidate[];
  /** What the shell itself adds. */
  readonly rest: 'none' | 'files' | 'folders';
}

/** What the scripts do with a place where we know no words: the directives of Cobra, whose scripts these are but for bash. */
const DIRECTIVES = { files: 0, none: 4, folders: 16 } as const;

/** Answers a shell: a candidate a line, behind a tab what it is for, and a directive as the last line. */
export function printCompletions(words: readonly string[], { stdout }: CLIContext): ExitCode {
  const { candidates, rest } = completionsFor(words);
  const lines = candidates.map(({ value, about }) => `${value}\t${about}\n`);
  stdout.write(`${lines.join('')}:${String(DIRECTIVES[rest])}\n`);
  return EXIT.complete;
}

/**
 * What may stand in the last word of a command line.
 * @param words - those behind the program's name; the last one as far as it is typed, which may be nothing
 */
export function completionsFor(
  words: readonly string[],
  commands: readonly CommandDefinition[] = COMMANDS,
): Completions {
  const last = words.at(-1) ?? '';
  const before = words.slice(0, -1);
  const [name, ...rest] = before;
  const command = commands.find((each) => each.name === name);
  if (name === undefined) {
    return last.startsWith('-')
      ? starting(last, MAIN_FLAGS)
      : starting(
          last,
          commands.map((each) => ({ value: each.name, about: each.about })),
        );
  }
  return command === undefined ? NOTHING : inCommand(command, rest, last);
}

const NOTHING: Completions = { candidates: [], rest: 'none' };
const HELP: Candidate = { value: '--help', about: 'show help' };
const MAIN_FLAGS: readonly Candidate[] = [HELP, { value: '--version', about: 'show the version' }];

function inCommand(command: CommandDefinition, before: readonly string[], last: string): Completions {
  const given = new Map<string, string>();
  let waiting: FlagDefinition | undefined;
  let places = 0;
  let isOver = false;
  for (const word of before) {
    if (waiting !== undefined) {
      given.set(longName(waiting), word);
      waiting = undefined;
    } else if (word === '--') isOver = true;
    else if (isOver || !word.startsWith('-') || word === '-') places += 1;
    else {
      const [dashed = '', ...value] = word.split('=');
      const flag = flagNamed(command, dashed);
      if (flag === undefined) continue;
      if (!takesValue(flag) || value.length > 0) given.set(longName(flag), value.join('='));
      else waiting = flag;
    }
  }
  if (waiting !== undefined) return valuesOf(waiting, given, last);
  if (!isOver && last.startsWith('--') && last.includes('=')) {
    const at = last.indexOf('=');
    const flag = flagNamed(command, last.slice(0, at));
    return flag === undefined ? NOTHING : valuesOf(flag, given, last.slice(at + 1));
  }
  if (!isOver && last.startsWith('-') && last !== '-') {
    const flags = command.flags.filter((flag) => !given.has(longName(flag)));
    return starting(last, [...flags.map((flag) => ({ value: `--${longName(flag)}`, about: flag.about })), HELP]);
  }
  const argument = command.arguments?.[places];
  return argument === undefined ? NOTHING : valuesOf(argument, given, last);
}

function flagNamed({ flags }: CommandDefinition, dashed: string): FlagDefinition | undefined {
  return flags.find((flag) => flag.flags.split(/[ ,]+/).includes(dashed));
}

function valuesOf(
  { values, choices }: { readonly values?: Values; readonly choices?: readonly string[] },
  given: ReadonlyMap<string, string>,
  last: string,
): Completions {
  if (values === 'files' || values === 'folders') return { candidates: [], rest: values };
  const known = values?.(given) ?? choices?.map((value) => ({ value, about: '' })) ?? [];
  return starting(last, known);
}

/** Upper and lower case are the same, as they are for names of providers. */
function starting(last: string, candidates: readonly Candidate[]): Completions {
  const lower = last.toLowerCase();
  return { candidates: candidates.filter(({ value }) => value.toLowerCase().startsWith(lower)), rest: 'none' };
}
