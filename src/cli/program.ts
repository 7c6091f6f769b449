import { Argument, Command, CommanderError, Option } from 'commander';
import { aboutFlag, type CommandDefinition } from './commandDefinition.js';
import { COMMANDS } from './commands.js';
import { printCompletions } from './completion.js';
import type { CLIContext } from './context.js';
import { EXIT, UsageError } from './exitCodes.js';
import { commandHelp, MAIN_ABOUT, mainHelp } from './helpText.js';
import { readPackage } from './readPackage.js';
import { reportError } from './reportError.js';

/**
 * Runs one command line.
 * @param args - without the program's own name
 * @returns the exit code; nothing is thrown
 */
export async function runCLI(args: readonly string[], context: CLIContext): Promise<number> {
  let code: number = EXIT.complete;
  const program = createProgram(context, (late) => {
    code = late;
  });
  try {
    // How a shell asks; what follows the dashes is a command line as far as it is typed, for which commander has no word.
    if (args[0] === 'complete' && args[1] === '--') return printCompletions(args.slice(2), context);
    await program.parseAsync(args, { from: 'user' });
    return code;
  } catch (error) {
    // Commander has printed its message by now; help and version are asked for, all else is a wrong command line.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.complete : EXIT.usage;
    reportError(context, error);
    return error instanceof UsageError ? EXIT.usage : EXIT.failed;
  }
}

/** The commands. Each tells its exit code to `done`. */
export function createProgram(
  context: CLIContext,
  done: (code: number) => void,
  commands: readonly CommandDefinition[] = COMMANDS,
): Command {
  const { stdout, stderr } = context;
  const program = new Command('millrace')
    .description(MAIN_ABOUT)
    .version(readPackage().version, '-V, --version', 'show the version')
    .helpOption('-h, --help', 'show help')
    .helpCommand(false)
    .showSuggestionAfterError(true)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => stdout.write(text),
      writeErr: (text) => stderr.write(text),
      getOutHelpWidth: () => helpWidth(stdout.columns),
      getErrHelpWidth: () => helpWidth(stderr.columns),
      getOutHasColors: () => false,
      getErrHasColors: () => false,
      outputError: (text, write) => {
        write(`millrace: ${oneLine(text)}\n`);
      },
    })
    .addHelpText('after', ({ error }) => mainHelp(helpWidth((error ? stderr : stdout).columns)));
  for (const definition of commands) addCommand(program, definition, context, done);
  return program;
}

function addCommand(
  program: Command,
  definition: CommandDefinition,
  context: CLIContext,
  done: (code: number) => void,
): void {
  const command = program.command(definition.name).description(definition.about);
  for (const { syntax, about, choices } of definition.arguments ?? []) {
    const argument = new Argument(syntax, about);
    command.addArgument(choices === undefined ? argument : argument.choices(choices));
  }
  for (const flag of definition.flags) {
    const about = aboutFlag(flag);
    const option = new Option(flag.flags, flag.usually === undefined ? about : `${about} (default: ${flag.usually})`);
    if (flag.choices !== undefined) option.choices(flag.choices);
    if (flag.default !== undefined) option.default(flag.default);
    if (flag.parse !== undefined) option.argParser(flag.parse);
    if (flag.conflicts !== undefined) option.conflicts([...flag.conflicts]);
    command.addOption(option);
  }
  const { stdout, stderr } = context;
  command.addHelpText('after', ({ error }) => commandHelp(definition, helpWidth((error ? stderr : stdout).columns)));
  command.action(async () => {
    // The options are what the flags' own readers made of them, which the definition's type tells.
    done(await definition.action(command.args, command.opts<never>(), context));
  });
}

function helpWidth(columns = 100): number {
  return Math.min(columns, 110);
}

/** Commander's words without the value of an unknown option, which may be a key that somebody tried to give. */
function oneLine(text: string): string {
  const line = text
    .trim()
    .replace(/^error: /, '')
    .replace(/\s*\n\s*/g, ' ');
  const quiet = line.replace(/^(unknown option '-[^=']*)=.*?'(?=$| \()/, "$1'");
  return /^unknown option '--?(api-?)?(key|token)/i.test(quiet)
    ? `${quiet}; keys are read from the environment, see --key-env`
    : quiet;
}
