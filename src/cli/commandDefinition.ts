import type { CLIContext } from './context.js';

/** What may stand in a place of a command line, for completion. */
export type Values = 'files' | 'folders' | ((given: Given) => readonly Candidate[]);

/** What a command line has said before the place that is completed: the options' values by their long names, without dashes. */
export type Given = ReadonlyMap<string, string>;

export interface Candidate {
  readonly value: string;
  readonly about: string;
}

/** A flag of a command. Help, completion and docs/cli.md come from it. */
export interface FlagDefinition {
  /** In commander's words: `-o, --out <dir>`. */
  readonly flags: string;
  readonly about: string;
  /** Throws InvalidArgumentError with a sentence of what it must be. */
  readonly parse?: (value: string) => unknown;
  readonly choices?: readonly string[];
  readonly default?: string | number;
  /** What holds where the flag is not given, in words: for what is filled in later, since a config file may say it. */
  readonly usually?: string;
  /** The names of flags that cannot stand beside it, as commander's properties. */
  readonly conflicts?: readonly string[];
  /** @defaultValue the choices, or nothing */
  readonly values?: Values;
}

export interface ArgumentDefinition {
  /** In commander's words: `[file]`, `<shell>`. */
  readonly syntax: string;
  readonly about: string;
  readonly choices?: readonly string[];
  readonly values?: Values;
}

/** A part of a help text. Its lines stand as they are; in docs/cli.md as a paragraph, or, where `isTable`, as they are too. */
export interface HelpSection {
  readonly title: string;
  readonly lines: readonly string[];
  readonly isTable?: true;
}

export interface Example {
  /** What is typed, without the prompt. */
  readonly line: string;
  readonly does: string;
}

/** A name, such as a variable's or a file's, and what it is for. */
export type Explained = readonly [name: string, about: string];

/** A command: everything that is known of it, once. */
export interface CommandDefinition<Options = never> {
  readonly name: string;
  /** One line, for the list of commands. */
  readonly about: string;
  readonly arguments?: readonly ArgumentDefinition[];
  readonly flags: readonly FlagDefinition[];
  readonly sections?: readonly HelpSection[];
  readonly examples: readonly Example[];
  readonly environment?: readonly Explained[];
  readonly files?: readonly Explained[];
  /** The meaning of each code it may end with. */
  readonly exitCodes: readonly Explained[];
  /** @returns the exit code */
  readonly action: (
    positional: readonly (string | undefined)[],
    options: Options,
    context: CLIContext,
  ) => Promise<number>;
}

/** The name of a flag's long form, without dashes. */
export function longName({ flags }: FlagDefinition): string {
  return /--([\w-]+)/.exec(flags)?.[1] ?? '';
}

/** True where a flag takes a value. */
export function takesValue({ flags }: FlagDefinition): boolean {
  return /[<[]/.test(flags);
}

/** What a flag is for, and beside which it cannot stand. */
export function aboutFlag({ about, conflicts = [] }: FlagDefinition): string {
  if (conflicts.length === 0) return about;
  const names = conflicts.map((name) => `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`);
  return `${about}; not with ${names.join(', ')}`;
}
