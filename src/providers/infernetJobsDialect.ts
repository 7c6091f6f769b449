import * as z from 'zod/mini';
import { type Dialect, dialect, type DialectStream } from '../protocol/dialect.js';
import { type ErrorReport, isRecord, readErrorBody } from '../protocol/errorBody.js';
import { InlineThinking } from '../protocol/inlineThinking.js';
import { validate } from '../protocol/validate.js';
import { readChatUsage } from './chatUsage.js';
import { type InfernetMessage, infernetTurn } from './infernetTurn.js';

/** How to read Infernet's job stream. @public */
export interface InfernetJobsDialectOptions {
  /**
   * Reads what stands between `<think>` and `</think>` as thinking, where the model behind a job writes it into its answer. Infernet does not
   * document it: a node passes on what its model wrote. @defaultValue `false`
   */
  readonly inlineThinking?: boolean | undefined;
  /**
   * Whether asking again can help, by the failure's code. @defaultValue for `no_capacity`, `rate_limited`, `internal_error`,
   * `node_disconnected` and `timeout`, from the documentation's table
   */
  readonly retryable?: ((report: ErrorReport) => boolean) | undefined;
}

const RETRYABLE: ReadonlySet<unknown> = new Set([
  'no_capacity',
  'rate_limited',
  'internal_error',
  'node_disconnected',
  'timeout',
]);

const Frame = z.looseObject({ text: z.nullish(z.string()) });
const Job = z.looseObject({
  id: z.nullish(z.string()),
  status: z.string(),
  result: z.nullish(z.looseObject({ content: z.nullish(z.string()), usage: z.nullish(z.unknown()) })),
});

interface JobState {
  readonly thinking: InlineThinking | undefined;
  status: string | undefined;
  /** Nothing was said yet of the text in hand. */
  isQuiet: boolean;
}

/** All that a frame has; whatever else one had would be the same in those like it. */
const TEXT_FRAME = { text: 'text' } as const;

/**
 * Infernet's documented job stream: `{"text": "…"}` frames, then `[DONE]`, which is sent only once the job is confirmed whole
 * and so is the proof. A failure is `{"error": "<code>", "message": "…"}` and nothing after it. The stream tells neither
 * usage nor why the model stopped: the finish reason is `unknown`. An empty text becomes a heartbeat: it says nothing but
 * that the job is alive.
 *
 * What a stream shows that is opened again is not documented, and a job that lost its node runs again on another. So after a
 * reconnect text passes only where it surely follows what was delivered, `[DONE]` proves nothing, and the job as it is stored
 * decides: its `result.content` is the answer, of which the missing end is emitted, or `restart` and the whole. A completed job
 * that does not hold it fails: what was delivered may be a part of it.
 * @public
 */
export function infernetJobsDialect(options: InfernetJobsDialectOptions = {}): Dialect<InfernetMessage> {
  const { inlineThinking = false, retryable = ({ code }: ErrorReport) => RETRYABLE.has(code) } = options;
  return dialect<z.infer<typeof Frame>, JobState, InfernetMessage>({
    name: 'infernet-jobs',
    frame: Frame,
    turn: infernetTurn,
    marker: '[DONE]',
    markerAlone: 'whole',
    retryable,
    start: () => ({ thinking: inlineThinking ? new InlineThinking() : undefined, status: undefined, isQuiet: true }),
    reattach: 'unknown',
    decode: ({ text }, stream) => {
      if (text === undefined || text === null) return; // arrives as `raw`
      const say: Say = (type, piece) => {
        stream.state.isQuiet = false;
        sayTo(stream, type, piece);
      };
      read(text, stream, say);
      stream.template(TEXT_FRAME, (next) => {
        read(next, stream, say);
        return true;
      });
    },
    flush: (stream) => {
      stream.state.thinking?.flush((type, piece) => {
        sayTo(stream, type, piece);
      });
    },
    release: (stream) => {
      stream.state.thinking?.release((type, piece) => {
        sayTo(stream, type, piece);
      });
    },
    submitted: (answer, stream) => {
      if (!isRecord(answer) || typeof answer['status'] !== 'string') {
        stream.emit({ type: 'raw', frame: answer });
        return;
      }
      readStatus(answer['id'], answer['status'], stream);
      if (answer['status'] === 'failed') stream.fail(readErrorBody(answer), answer);
    },
    stored: (work, stream) => {
      const { id, status, result } = validate(Job, work, 'an infernet job');
      readStatus(id, status, stream);
      // A job that has failed runs no more: asking again would be another job.
      if (status === 'failed') stream.fail(readErrorBody(work), work, false);
      if (status !== 'completed') return;
      // What was delivered may be a part, and nothing else would tell.
      if (typeof result?.content !== 'string') {
        return stream.fail({ code: undefined, type: undefined, message: NO_ANSWER }, work, false);
      }
      stream.settle(split(result.content, inlineThinking), 'the stored result has a different text');
      const told = readChatUsage({ usage: result.usage }, undefined);
      if (told !== undefined) stream.emit({ type: 'usage', ...told.usage });
      stream.prove('unknown');
      stream.done();
    },
  });
}

const NO_ANSWER = 'the job was completed while the connection was lost, and its stored result does not hold its answer';

type JobStream = DialectStream<JobState>;

function read(text: string, stream: JobStream, say: Say): void {
  const { state } = stream;
  if (state.thinking === undefined) {
    stream.emit(text === '' ? { type: 'heartbeat', comment: '' } : { type: 'text', text, index: 0, name: 'output' });
    return;
  }
  state.isQuiet = true;
  state.thinking.push(text, say);
  // Nothing to say yet is no frame without a name: it was empty, or a tag, or is held as the beginning of one.
  if (state.isQuiet) stream.emit({ type: 'heartbeat', comment: '' });
}

function readStatus(id: unknown, status: unknown, stream: JobStream): void {
  if (typeof status !== 'string' || status === stream.state.status) return;
  stream.state.status = status;
  const terminal = status === 'completed' || status === 'failed';
  stream.emit({ type: 'status', status, ...(typeof id === 'string' ? { id } : undefined), terminal });
}

/** A stored answer, with thinking and text apart where the model writes both into it. */
function split(content: string, inlineThinking: boolean): { readonly text: string; readonly thinking: string } {
  const parts = { text: '', thinking: '' };
  if (!inlineThinking) return { ...parts, text: content };
  const reader = new InlineThinking();
  const say: Say = (type, piece) => {
    parts[type] += piece;
  };
  reader.push(content, say);
  reader.flush(say);
  return parts;
}

type Say = (type: 'text' | 'thinking', text: string) => void;

function sayTo(stream: Pick<DialectStream<unknown>, 'emit'>, type: 'text' | 'thinking', text: string): void {
  stream.emit({ type, text, index: 0, name: type === 'text' ? 'output' : 'thinking' });
}
