import { readFileSync } from 'node:fs';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { ask, type AskOptions } from './ask.js';
import type { CLIContext } from './context.js';
import { demo, type DemoOptions } from './demo.js';
import { EXIT, EXIT_CODES_HELP } from './exitCodes.js';
import { mock, type MockOptions } from './mock.js';
import { PROVIDER_NAMES, type ProviderName, PROVIDERS } from './providerCall.js';
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
    await program.parseAsync(args, { from: 'user' });
    return code;
  } catch (error) {
    // Commander has printed its message by now; help and version are asked for, all else is a wrong command line.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.complete : EXIT.usage;
    reportError(context, error);
    return EXIT.failed;
  }
}

/** The commands. Each tells its exit code to `done`. */
export function createProgram(context: CLIContext, done: (code: number) => void): Command {
  const { stdout, stderr } = context;
  const program = new Command('millrace')
    .description('Streaming inference APIs as RxJS observables: try it, ask a provider, or play one.')
    .version(readVersion(), '-V, --version')
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
    .addHelpText('after', MAIN_HELP);

  program
    .command('demo')
    .description('stream from three providers at once, played by a server in this process: no key, no network')
    .option('-o, --out <dir>', 'folder for the three files', 'millrace-demo')
    .addOption(
      new Option('--pace <ms>', 'milliseconds between two frames; 0 for full speed')
        .default(30)
        .argParser(wholeNumber(0)),
    )
    .addHelpText('after', DEMO_HELP)
    .action(async (options: DemoOptions) => {
      done(await demo(options, context));
    });

  program
    .command('ask')
    .description('ask one provider; the answer goes to stdout, or to a file, as it is made')
    .argument('[prompt]', 'what to ask; - reads it from standard input, as does nothing where that is a pipe')
    .addOption(
      new Option('-p, --provider <name>', 'whom to ask, see below').makeOptionMandatory().argParser(providerName),
    )
    .option('-m, --model <name>', 'the model, in the provider’s own name')
    .option('-s, --system <text>', 'system prompt')
    .addOption(
      new Option('--max-tokens <n>', 'at most so many tokens; anthropic: 4096 unless given').argParser(wholeNumber(1)),
    )
    .addOption(new Option('--temperature <t>', 'how free the choice of words is').argParser(temperature))
    .option('--enable-thinking', 'let a reasoning model think (infron, gateway, polargrid, gemini, ollama)')
    .option('--mode <name>', 'the provider’s way of asking, see below')
    .option('--base-url <url>', 'where the API is, in place of the usual place')
    .option('--key-env <name>', 'environment variable that holds the key')
    .option('--region <name>', 'polargrid: the edge, such as nyc-01')
    .option('--service <name>', 'gateway: whose model it is')
    .option('--app <name>', 'inferencesh: the app to run, namespace/name')
    .option('--agent <name>', 'inferencesh: the agent to ask, namespace/name')
    .addOption(new Option('--input <json>', 'inferencesh: more fields of the app’s input').argParser(jsonObject))
    .option('-o, --out <file>', 'write to a file; it has its name only when the answer is whole')
    .addOption(
      new Option('--if-exists <what>', 'what to do when the file is there (default: "error")').choices([
        'error',
        'skip',
        'overwrite',
      ]),
    )
    .option('--footer', 'end the file with a line on what made it')
    .addOption(
      new Option('--json', 'print every stream event as a line of JSON').conflicts(['out', 'footer', 'ifExists']),
    )
    .addOption(
      new Option('--thinking <how>', 'the model’s reasoning; dim is for terminals with colours, elsewhere it is hidden')
        .choices(['hide', 'dim', 'show'])
        .default('dim'),
    )
    .option('--receipt', 'print the receipt on stderr, also where that is no terminal')
    .addHelpText('after', ASK_HELP)
    .action(async (prompt: string | undefined, options: AskOptions) => {
      done(await ask(prompt, options, context));
    });

  program
    .command('mock')
    .description('start a server that answers as the providers do, for work on a client')
    .addOption(new Option('--port <n>', 'port on 127.0.0.1; 0 for a free one').default(0).argParser(port))
    .addOption(
      new Option('--pace <ms>', 'milliseconds between two frames; 0 for full speed')
        .default(20)
        .argParser(wholeNumber(0)),
    )
    .option('--no-auth', 'ask for no key')
    .option('--cors', 'let pages of any origin read the answers')
    .addHelpText('after', MOCK_HELP)
    .action(async (options: MockOptions) => {
      done(await mock(options, context));
    });

  return program;
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

function providerName(value: string): ProviderName {
  const found = PROVIDER_NAMES.find((name) => name.toLowerCase() === value.toLowerCase());
  if (found === undefined) throw new InvalidArgumentError(`Known providers are ${PROVIDER_NAMES.join(', ')}.`);
  return found;
}

function wholeNumber(min: number): (value: string) => number {
  return (value) => {
    if (!/^\d{1,9}$/.test(value) || Number(value) < min) {
      throw new InvalidArgumentError(`It must be a whole number from ${String(min)} on.`);
    }
    return Number(value);
  };
}

function port(value: string): number {
  if (!/^\d{1,5}$/.test(value) || Number(value) > 65_535) throw new InvalidArgumentError('It must be from 0 to 65535.');
  return Number(value);
}

function temperature(value: string): number {
  if (!/^\d+(\.\d+)?$/.test(value)) throw new InvalidArgumentError('It must be a number from 0 on, such as 0.7.');
  return Number(value);
}

function jsonObject(value: string): Readonly<Record<string, unknown>> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(value);
  } catch {
    throw new InvalidArgumentError('It must be a JSON object.'); // the value is quoted beside it
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw new InvalidArgumentError('It must be a JSON object.');
  }
  return { ...parsed };
}

/** From the package's own description, two folders up from here and from the built file. */
function readVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  const { version } = JSON.parse(text) as { readonly version: string }; // our own package.json has one
  return version;
}

const MAIN_HELP = `
Examples:
  $ millrace demo
  $ millrace ask -p polargrid -m qwen-2.5-7b 'Why do rivers meander?'
  $ millrace mock --port 8787 --cors

'millrace <command> --help' shows more of each.
${EXIT_CODES_HELP}

MILLRACE_DEBUG=1 adds a stack to errors, NO_COLOR=1 takes colours away.`;

const DEMO_HELP = `
Each stream goes to a file of its own, which an earlier run's files make way for. One stream is cut on purpose: its
receipt says interrupted and its file stays .partial. The exit code is 0 all the same; after Ctrl-C it is 130.

Examples:
  $ millrace demo
  $ millrace demo --out /tmp/streams --pace 60
  $ millrace demo | cat        lines for a log, without colours`;

const MODES_HELP = PROVIDER_NAMES.map((name) => {
  const { keyEnv = '-', keyless = [], modes } = PROVIDERS[name];
  const ways = name === 'inferencesh' ? '--app or --agent' : modes.join(', ');
  const key = keyEnv !== '-' && keyless.length === modes.length ? `${keyEnv}, optional` : keyEnv;
  return `  ${name.padEnd(16)} ${key.padEnd(25)} ${ways}`;
}).join('\n');

const ASK_HELP = `
  provider         key                       modes, the usual one first
${MODES_HELP}

azure and openaiCompatible (any other server that speaks OpenAI's chat completions) need --base-url. For infernet's
native and openai modes it is the server's origin. The key is never given on the command line.

Examples:
  $ millrace ask -p polargrid -m qwen-2.5-7b --max-tokens 800 'Why do rivers meander?'
  $ millrace ask -p anthropic -m claude-sonnet-4-6 'Why do rivers meander?'
  $ millrace ask -p ollama -m qwen3 --enable-thinking --thinking show 'How many mills are there?'
  $ git diff | millrace ask -p infron -m deepseek/deepseek-chat -s 'Review this change.'
  $ millrace ask -p inferencesh --app openrouter/claude-haiku-45 'Name three mills.' -o mills.md --if-exists overwrite
  $ millrace ask -p gateway --service google-gemini -m gemini_flash --json 'Hi' | jq -r 'select(.type == "text").text'
  $ WORK_KEY=... millrace ask -p infernet -m qwen2.5:14b --key-env WORK_KEY 'Hello'
${EXIT_CODES_HELP}`;

const MOCK_HELP = `
Examples:
  $ millrace mock
  $ millrace mock --port 8787 --cors --no-auth     for a page under work
  $ millrace mock --pace 200                       slow enough to watch

It listens on 127.0.0.1 only and sends the same text for the same request. Ctrl-C ends it, with exit code 0.`;
