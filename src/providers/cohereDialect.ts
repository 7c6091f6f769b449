import * as z from 'zod/mini';
import { requireAtLeast } from '../internal/require.js';
import { type Dialect, dialect, type DialectStream, type Emit } from '../protocol/dialect.js';
import type { ErrorReport } from '../protocol/errorBody.js';
import { isRecord } from '../protocol/errorBody.js';
import type { StandardSchema } from '../protocol/standardSchema.js';
import type { FinishReason, Usage } from '../types.js';
import { ChatToolCalls } from './chatToolCalls.js';
import { type CohereTurn, cohereTurn } from './cohereTurn.js';

/** How a stream of Cohere's is read. @public */
export interface CohereDialectOptions {
  /**
   * Whether asking again can help after a failure told in the stream.
   * @defaultValue after the finish reasons `ERROR` and `TIMEOUT`, which are the server's own
   */
  readonly retryable?: ((report: ErrorReport) => boolean) | undefined;
  /** As in `chatDialect`. @defaultValue 67,108,864 */
  readonly maxToolCallChars?: number | undefined;
}

type Loose = Readonly<Record<string, unknown>>;

interface CohereCall extends Loose {
  readonly id?: string | null | undefined;
  readonly function?:
    (Loose & { readonly name?: string | null; readonly arguments?: string | null }) | null | undefined;
}

interface CohereContent extends Loose {
  readonly text?: string | null | undefined;
  readonly thinking?: string | null | undefined;
}

interface CohereFrame extends Loose {
  readonly type?: unknown;
  readonly index?: number | null | undefined;
  readonly delta?:
    | (Loose & {
        readonly message?:
          | (Loose & {
              readonly content?: CohereContent | readonly unknown[] | null | undefined;
              readonly tool_calls?: CohereCall | readonly unknown[] | null | undefined;
            })
          | null
          | undefined;
        readonly finish_reason?: string | null | undefined;
        readonly error?: string | null | undefined;
        readonly usage?: Loose | null | undefined;
      })
    | null
    | undefined;
}

const Text = z.nullish(z.string());
const Call = z.looseObject({
  id: Text,
  function: z.nullish(z.looseObject({ name: Text, arguments: Text })),
});
const Content = z.looseObject({ text: Text, thinking: Text });

const cohereFrame: StandardSchema<CohereFrame> = z.looseObject({
  index: z.nullish(z.number()),
  delta: z.nullish(
    z.looseObject({
      message: z.nullish(
        z.looseObject({
          content: z.nullish(z.union([z.array(z.unknown()), Content])),
          tool_calls: z.nullish(z.union([z.array(z.unknown()), Call])),
        }),
      ),
      finish_reason: Text,
      error: Text,
      usage: z.nullish(z.looseObject({})),
    }),
  ),
}) as StandardSchema<CohereFrame>; // the same shape, in names that can be written out

const REASONS: ReadonlyMap<string, FinishReason> = new Map([
  ['COMPLETE', 'stop'],
  ['STOP_SEQUENCE', 'stop'],
  ['MAX_TOKENS', 'length'],
  ['ERROR_LIMIT', 'length'],
  ['TOOL_CALL', 'tool-calls'],
  ['ERROR_TOXIC', 'content-filter'],
]);

/** Finish reasons that are failures of the server's. */
const FAILURES: ReadonlySet<unknown> = new Set(['ERROR', 'TIMEOUT']);

interface CohereState {
  readonly calls: ChatToolCalls;
}

/**
 * The dialect of Cohere's chat, version 2 (docs.cohere.com/reference/chat-stream).
 *
 * ```text
 * content-delta     {"delta":{"message":{"content":{"text":"Hel"}}}}                    text, or `thinking`
 * tool-call-start, tool-call-delta, tool-call-end                                       tool-call-delta
 * message-end       {"delta":{"finish_reason":"COMPLETE","usage":{"tokens":{…}}}}       tool-call, usage, finish
 * ```
 * - *End*: `message-end` with its finish reason; a `[DONE]` behind it or without it says nothing.
 * - *Failures*: the finish reasons `ERROR` and `TIMEOUT`, and an `error` beside a reason. `ERROR_LIMIT` is a clean end of a cut text
 *   (`length`), and so is `ERROR_TOXIC` (`content-filter`).
 * - *Usage* is `usage.tokens`; where only `billed_units` are told, those.
 * - *The rest* (tool plans, citations, billed units) arrives as `raw`. Types are read from the JSON, since proxies drop the events' names.
 *
 * Holds the unfinished tool calls.
 * @throws RangeError when called with a limit below 0
 * @public
 */
export function cohereDialect(options: CohereDialectOptions = {}): Dialect<CohereTurn> {
  const { retryable = ({ code }: ErrorReport) => FAILURES.has(code), maxToolCallChars = 67_108_864 } = options;
  requireAtLeast(0, { maxToolCallChars });
  return dialect<CohereFrame, CohereState, CohereTurn>({
    name: 'cohere',
    frame: cohereFrame,
    fillers: ['[DONE]'],
    retryable,
    start: () => ({ calls: new ChatToolCalls(0, { max: maxToolCallChars, chars: 0 }) }),
    decode: (frame, stream) => {
      read(frame, stream);
    },
    turn: cohereTurn,
  });
}

function read(frame: CohereFrame, stream: DialectStream<CohereState>): void {
  const emit: Emit = (event) => {
    stream.emit(event);
  };
  const { type = stream.event, index, delta } = frame;
  switch (type) {
    case 'content-start':
    case 'content-delta': {
      const content = delta?.message?.content;
      if (!isRecord(content)) return;
      const { thinking, text } = content;
      if (thinking) say('thinking', thinking, stream);
      if (text) say('text', text, stream);
      if (thinking && !text) offer('thinking', stream);
      else if (text && !thinking) offer('text', stream);
      return;
    }
    case 'tool-call-start':
    case 'tool-call-delta': {
      const call = delta?.message?.tool_calls;
      if (isRecord(call)) stream.state.calls.push({ ...call, index }, emit);
      return;
    }
    case 'message-end':
      end(frame, stream, emit);
      return;
    default: // arrives as `raw`
  }
}

function say(type: 'text' | 'thinking', text: string, stream: DialectStream<CohereState>): void {
  stream.emit({ type, text, index: 0, name: type === 'text' ? 'output' : 'thinking' });
}

/** Members that no one reads in a piece of content. */
const SKIPPED: ReadonlySet<string> = new Set(['index']);

/** Frames that bring nothing but a text are alike. */
function offer(type: 'text' | 'thinking', stream: DialectStream<CohereState>): void {
  stream.template({ text: `delta.message.content.${type}`, skip: SKIPPED }, (text) => {
    say(type, text, stream);
    return true;
  });
}

function end(frame: CohereFrame, stream: DialectStream<CohereState>, emit: Emit): void {
  const { finish_reason: word, error, usage } = frame.delta ?? {};
  const used = usage && usageOf(usage);
  if (used) emit({ type: 'usage', ...used });
  if (error || FAILURES.has(word)) {
    stream.fail({ code: word ?? undefined, type: undefined, message: error ?? undefined }, frame);
  }
  const reason = word ? (REASONS.get(word) ?? 'other') : 'unknown';
  stream.state.calls.finish(reason, emit);
  if (isRecord(usage?.['billed_units'])) {
    emit({ type: 'raw', frame, ...(stream.event !== 'message' && { event: stream.event }) });
  }
  stream.prove(reason, word ?? undefined);
  stream.done();
}

function usageOf(usage: Loose): Usage | undefined {
  const billed = isRecord(usage['billed_units']) ? usage['billed_units'] : {};
  const tokens = isRecord(usage['tokens']) ? usage['tokens'] : billed;
  const counts = {
    inputTokens: tokens['input_tokens'],
    outputTokens: tokens['output_tokens'],
    reasoningTokens: tokens['reasoning_tokens'],
    cachedTokens: usage['cached_tokens'],
  };
  const told = Object.entries(counts).filter(([, count]) => typeof count === 'number' && count >= 0);
  return told.length === 0 ? undefined : { ...Object.fromEntries(told), provenance: 'reported' };
}
