import { type Dialect, dialect, readFailure } from '../protocol/dialect.js';
import type { ErrorReport } from '../protocol/errorBody.js';
import type { StreamEvent } from '../types.js';
import { isMadeCallId } from './madeCallId.js';
import { type OllamaAnswer, ollamaAnswer } from './ollamaAnswer.js';
import { OllamaReader } from './ollamaReader.js';

/** How a stream of Ollama's own API is read. @public */
export interface OllamaDialectOptions {
  /** Stands in messages and errors. @defaultValue `'ollama'` */
  readonly name?: string | undefined;
  /**
   * Whether asking again can help after a failure told in the stream.
   * @defaultValue never: Ollama tells such a failure as a sentence, without a code
   */
  readonly retryable?: ((report: ErrorReport) => boolean) | undefined;
}

/** A tool call in a turn. @public */
export interface OllamaToolCall {
  readonly id?: string | undefined;
  readonly function: { readonly name: string; readonly arguments: unknown };
}

/** The assistant's turn, as it stands in `messages`. @public */
export interface OllamaTurn {
  readonly role: 'assistant';
  readonly content: string;
  readonly thinking?: string;
  readonly images?: readonly unknown[];
  readonly tool_calls?: readonly OllamaToolCall[];
}

/**
 * The dialect of Ollama's own API, `/api/chat` and `/api/generate` alike: one JSON object a line.
 *
 * ```text
 * {"message":{"role":"assistant","content":"","thinking":"Hm"},"done":false}          thinking
 * {"message":{"role":"assistant","content":"Hello"},"done":false}                      text
 * {"message":{…},"done":true,"done_reason":"stop","eval_count":4,…}                    usage, finish
 * ```
 *
 * - *Text* is `message.content` or `response`, *thinking* is `thinking` beside it. Images of a message are `media`.
 * - *Tool calls* come whole. Where the server sends no `id` one is made that is told to no server.
 * - *End*: the line with `done: true`, and nothing else. Its `done_reason` is `stop`, `length`, or `load` and `unload` where
 *   nothing was asked, which are finish `other`. `stop` after a tool call is finish `tool-calls`.
 * - *Failures*: a line with `error`; the HTTP status is 200 all the same.
 * - *Usage* stands on the last line. Ollama leaves out counts of 0, so an absent one is unknown.
 * - *The rest* (durations in nanoseconds, `context`, `logprobs`, `remote_model` …) arrives as `raw`, when it changes.
 *
 * Holds nothing.
 *
 * @example A server of one's own between
 * ```ts
 * fromHTTP(url, { method: 'POST', headers, body }).pipe(parseNDJSON(), decode(ollamaDialect()), toTokens()).subscribe(log);
 * ```
 * @public
 */
export function ollamaDialect(options: OllamaDialectOptions = {}): Dialect<OllamaTurn> {
  const { name = 'ollama', retryable } = options;
  return dialect<OllamaAnswer, OllamaReader, OllamaTurn>({
    name,
    framing: 'ndjson',
    frame: ollamaAnswer,
    retryable,
    start: () => new OllamaReader(),
    // The reader reports failures, after what stands beside them; a line that is malformed besides never reaches it.
    error: (frame, event) => {
      const report = readFailure(frame, event);
      return report === undefined || isAnswer(frame) ? undefined : report;
    },
    decode: (answer, stream) => {
      stream.state.read(answer, stream);
    },
    turn: { build: ollamaTurn },
  });
}

function ollamaTurn(events: readonly StreamEvent[]): OllamaTurn {
  let content = '';
  let thinking = '';
  const images: unknown[] = [];
  const calls: OllamaToolCall[] = [];
  for (const event of events) {
    if (event.type === 'text') content += event.text;
    else if (event.type === 'thinking') thinking += event.text;
    else if (event.type === 'media') images.push(event.content);
    else if (event.type === 'tool-call') {
      const { id, name, arguments: args } = event;
      calls.push({ ...(isMadeCallId(id) ? undefined : { id }), function: { name, arguments: args } });
    }
  }
  return {
    role: 'assistant',
    content,
    ...(thinking !== '' && { thinking }),
    ...(images.length > 0 && { images }),
    ...(calls.length > 0 && { tool_calls: calls }),
  };
}

function isAnswer(frame: unknown): boolean {
  const result = ollamaAnswer['~standard'].validate(frame);
  return !(result instanceof Promise) && result.issues === undefined;
}
