import * as z from 'zod/mini';
import { type Dialect, dialect, type DialectStream } from '../protocol/dialect.js';
import { type ErrorReport, isRecord, readErrorBody } from '../protocol/errorBody.js';
import { InlineThinking } from './inlineThinking.js';

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

/**
 * Infernet's documented job stream: `{"text": "…"}` frames, then `[DONE]`, which is sent only once the job is confirmed whole
 * and so is the proof. A failure is `{"error": "<code>", "message": "…"}` and nothing after it. The stream tells neither
 * usage nor why the model stopped: the finish reason is `unknown`. An empty text becomes a heartbeat: it says nothing but
 * that the job is alive.
 * @public
 */
export function infernetJobsDialect(options: InfernetJobsDialectOptions = {}): Dialect {
  const { inlineThinking = false, retryable = ({ code }: ErrorReport) => RETRYABLE.has(code) } = options;
  return dialect<z.infer<typeof Frame>, InlineThinking | undefined>({
    name: 'infernet-jobs',
    frame: Frame,
    marker: '[DONE]',
    markerAlone: 'whole',
    retryable,
    start: () => (inlineThinking ? new InlineThinking() : undefined),
    decode: ({ text }, stream) => {
      if (text === undefined || text === null) return; // arrives as `raw`
      let isQuiet = true;
      const say: Say = (type, piece) => {
        isQuiet = false;
        sayTo(stream, type, piece);
      };
      if (stream.state !== undefined) stream.state.push(text, say);
      else if (text !== '') say('text', text);
      // Nothing to say yet is no frame without a name: it was empty, or a tag, or is held as the beginning of one.
      if (isQuiet) stream.emit({ type: 'heartbeat', comment: '' });
    },
    flush: (stream) => {
      stream.state?.flush((type, piece) => {
        sayTo(stream, type, piece);
      });
    },
    release: (stream) => {
      stream.state?.release((type, piece) => {
        sayTo(stream, type, piece);
      });
    },
    submitted: (answer, stream) => {
      if (!isRecord(answer) || typeof answer['status'] !== 'string') {
        stream.emit({ type: 'raw', frame: answer });
        return;
      }
      const { id, status } = answer;
      stream.emit({ type: 'status', status, ...(typeof id === 'string' ? { id } : undefined), terminal: false });
      if (status === 'failed') stream.fail(readErrorBody(answer), answer);
    },
  });
}

type Say = (type: 'text' | 'thinking', text: string) => void;

function sayTo(stream: Pick<DialectStream<unknown>, 'emit'>, type: 'text' | 'thinking', text: string): void {
  stream.emit({ type, text, index: 0, name: type === 'text' ? 'output' : 'thinking' });
}
