import { addAbortSignal } from 'node:stream';
import { text as readText } from 'node:stream/consumers';
import { lastValueFrom, map, type MonoTypeOperatorFunction, type OperatorFunction, tap } from 'rxjs';
import {
  fromCall,
  isMillraceError,
  type Receipt,
  stopOn,
  type StreamEvent,
  toFile,
  type ToFileOptions,
  toStdout,
  type ToStdoutOptions,
} from '../index.js';
import { type CLIContext, colorsFor } from './context.js';
import { EXIT, type ExitCode, exitCodeOf, UsageError } from './exitCodes.js';
import { outputAsText } from './outputAsText.js';
import { type CallOptions, providerCall } from './providerCall.js';
import { readKey } from './readKey.js';
import { receiptLine } from './receiptTable.js';
import { reportError } from './reportError.js';
import { printable } from '../internal/textWidth.js';

/** What `millrace ask` takes. */
export interface AskOptions extends CallOptions {
  readonly keyEnv?: string;
  /** From a config file that may hold keys. */
  readonly apiKey?: string;
  readonly out?: string;
  readonly ifExists?: ToFileOptions['ifExists'];
  readonly footer?: true;
  readonly json?: true;
  readonly thinking: 'hide' | 'dim' | 'show';
  readonly receipt?: true;
}

/** Asks one provider, and lets its answer flow to stdout or to a file. */
export async function ask(prompt: string | undefined, options: AskOptions, context: CLIContext): Promise<ExitCode> {
  const { stderr, signal } = context;
  let apiKey: string | undefined;
  const shown = new Shown();
  try {
    if (options.out === undefined && (options.footer === true || options.ifExists !== undefined)) {
      throw new UsageError('--footer and --if-exists go with --out');
    }
    apiKey = readKey(options, context.env);
    const call = providerCall({ ...options, apiKey, prompt: await readPrompt(prompt, options, context) });
    const receipt = await lastValueFrom(
      fromCall(call).pipe(
        stopOn(signal),
        tap((event) => {
          shown.note(event, context, options);
        }),
        sinkFor(options, context),
      ),
    );
    if (receipt.by !== 'reader') shown.endLine(options, context);
    if (receipt.outcome === 'complete' && shown.hint !== undefined && options.json !== true) {
      stderr.write(`${shown.hint}\n`);
    }
    printReceipt(receipt, options, context);
    return exitCodeOf(receipt);
  } catch (error) {
    if (signal.aborted && !isMillraceError(error)) return EXIT.stopped;
    shown.endLine(options, context);
    reportError(context, error, apiKey);
    if (!isMillraceError(error)) {
      // What the library refuses before it asks for anything is a wrong option.
      if (error instanceof UsageError || error instanceof TypeError || error instanceof RangeError) return EXIT.usage;
      return EXIT.failed;
    }
    const { receipt } = error;
    if (receipt === undefined) return EXIT.failed;
    if (receipt.chars > 0 || options.receipt === true) printReceipt(receipt, options, context);
    return exitCodeOf(receipt);
  }
}

async function readPrompt(
  prompt: string | undefined,
  { input }: AskOptions,
  { stdin, signal }: CLIContext,
): Promise<string> {
  if (prompt !== undefined && prompt !== '-') {
    if (prompt.trim() === '') throw new UsageError('the prompt is empty');
    return prompt;
  }
  if (prompt === undefined && input !== undefined) return '';
  if (prompt === undefined && stdin.isTTY === true) {
    throw new UsageError('there is no prompt: give one, or - to type it (Ctrl-D ends it)');
  }
  const text = (await readText(addAbortSignal(signal, stdin))).replace(/\r?\n$/, '');
  if (text.trim() === '') throw new UsageError('there is no prompt: neither as an argument nor on standard input');
  return text;
}

function sinkFor(options: AskOptions, { stdout, env }: CLIContext): OperatorFunction<StreamEvent, Receipt> {
  if (options.json === true) {
    return (events) =>
      events.pipe(
        map((event) => `${JSON.stringify(event)}\n`),
        toStdout({ stream: stdout }),
      );
  }
  if (options.out !== undefined) {
    const { out, ifExists, footer } = options;
    return (events) => events.pipe(outputAsText(), toFile(out, { ifExists, footer }));
  }
  const thinking = thinkingFor(options, colorsFor(stdout, env).isColorSupported);
  return (events) =>
    events.pipe(
      stdout.isTTY === true ? printableText() : map((event) => event),
      outputAsText(),
      toStdout({ stream: stdout, thinking }),
    );
}

function thinkingFor({ thinking }: AskOptions, hasColors: boolean): ToStdoutOptions['thinking'] {
  if (thinking === 'show') return { prefix: '> ' };
  return thinking === 'dim' && !hasColors ? 'hide' : thinking;
}

/** On a terminal a model must not move the cursor. */
function printableText(): MonoTypeOperatorFunction<StreamEvent> {
  return map((event) =>
    event.type === 'text' || event.type === 'thinking' ? { ...event, text: printable(event.text) } : event,
  );
}

/** What a person at the terminal has seen so far. */
class Shown {
  #endsLine = true;
  #hasText = false;
  #others = new Map<string, number>();

  /** Notes an event, and shows on stderr what a task does before its text begins. */
  note(event: StreamEvent, { stderr, env }: CLIContext, { json }: AskOptions): void {
    switch (event.type) {
      case 'text':
        this.#hasText = true;
        this.#endsLine = event.text.endsWith('\n');
        break;
      case 'output':
        this.#hasText ||= event.final;
        break;
      case 'tool-call':
      case 'media':
        this.#others.set(event.type, (this.#others.get(event.type) ?? 0) + 1);
        break;
      case 'status':
      case 'log':
        if (!this.#hasText && stderr.isTTY === true && json !== true) {
          const line = event.type === 'log' ? event.message : event.status;
          stderr.write(`${colorsFor(stderr, env).dim(printable(line))}\n`);
        }
        break;
      default:
    }
  }

  /** On a terminal what follows begins on a line of its own; a pipe is given the answer's bytes and no more. */
  endLine({ out, json }: AskOptions, { stdout }: CLIContext): void {
    if (!this.#endsLine && out === undefined && json !== true && stdout.isTTY === true) stdout.write('\n');
  }

  /** What an answer without text holds instead. */
  get hint(): string | undefined {
    if (this.#hasText || this.#others.size === 0) return undefined;
    const what = [...this.#others].map(([type, count]) => `${String(count)} ${type}${count > 1 ? 's' : ''}`);
    return `The answer holds ${what.join(' and ')} and no text; --json shows it`;
  }
}

function printReceipt(receipt: Receipt, { json, receipt: isAsked }: AskOptions, { stderr, env }: CLIContext): void {
  if (isAsked !== true && (stderr.isTTY !== true || json === true)) return;
  const line = json === true ? JSON.stringify(receipt) : colorsFor(stderr, env).dim(receiptLine(receipt));
  stderr.write(`${line}\n`);
}
