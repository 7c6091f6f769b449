import * as z from 'zod/mini';
import { type Dialect, dialect, type DialectStream } from '../protocol/dialect.js';
import { type ErrorReport, isRecord, readErrorBody } from '../protocol/errorBody.js';
import { validate } from '../protocol/validate.js';

/** How a stream of Replicate's is read. @public */
export interface ReplicateDialectOptions {
  /** Whether asking again can help after a prediction failed: it would be run, and billed, again. @defaultValue never */
  readonly retryable?: ((report: ErrorReport) => boolean) | undefined;
}

/** A prediction as it is stored. */
const Prediction = z.looseObject({
  id: z.nullish(z.string()),
  status: z.string(),
  output: z.nullish(z.unknown()),
  error: z.nullish(z.unknown()),
});

interface ReplicateState {
  status: string | undefined;
}

type Stream = DialectStream<ReplicateState>;

/** States after which nothing follows. */
const ENDS: ReadonlySet<string> = new Set(['succeeded', 'failed', 'canceled', 'aborted']);

/**
 * The dialect of Replicate's output streams, whose data is no JSON but the text itself, to the last space.
 *
 * ```text
 * event: output   data: Hel                          text, as it is
 * event: logs     data: loading                      log
 * event: error    data: out of memory                ProviderError
 * event: done     data: {} | {"reason":"canceled"}   finish, or a failure
 * ```
 * - *End*: `done`. With a `reason` it is a failure: somebody cancelled the prediction, or it broke.
 * - *Output* that is a file is told as its URL, which stands in the text.
 * - *Reconnect*: what a stream shows that is opened again is not documented, so text passes only where it surely follows what was
 *   delivered, and the prediction as it is stored decides: its `output` is the answer, of which the missing end is emitted, or `restart`
 *   and the whole.
 *
 * The stream tells neither usage nor why the model stopped; the stored prediction's `metrics` have the times.
 * @public
 */
export function replicateDialect(options: ReplicateDialectOptions = {}): Dialect {
  return dialect<string, ReplicateState>({
    name: 'replicate',
    data: 'text',
    frame: z.string(),
    retryable: options.retryable,
    start: () => ({ status: undefined }),
    reattach: 'unknown',
    decode: (data, stream) => {
      switch (stream.event) {
        case 'output':
          if (data === '') stream.emit({ type: 'heartbeat', comment: '' });
          else stream.emit({ type: 'text', text: data, index: 0, name: 'output' });
          return;
        case 'logs':
          if (data !== '') stream.emit({ type: 'log', message: data });
          return;
        case 'done':
          readDone(data, stream);
          return;
        default: // arrives as `raw`
      }
    },
    submitted: (answer, stream) => {
      if (!isRecord(answer) || typeof answer['status'] !== 'string') stream.emit({ type: 'raw', frame: answer });
      else readStatus(answer['id'], answer['status'], stream);
    },
    stored: (work, stream) => {
      const { id, status, output, error } = validate(Prediction, work, 'a replicate prediction');
      readStatus(id, status, stream);
      if (status !== 'succeeded') {
        if (ENDS.has(status)) stream.fail(failureOf(status, error), work, false);
        return;
      }
      const text = textOf(output);
      // What was delivered may be a part, and nothing else would tell.
      if (text === undefined) return stream.fail({ code: undefined, type: undefined, message: NO_ANSWER }, work, false);
      stream.settle({ text }, 'the stored output is another text');
      stream.prove('unknown');
      stream.done();
    },
  });
}

const NO_ANSWER = 'the prediction succeeded while the connection was lost, and its stored output is no text';

function readDone(data: string, stream: Stream): void {
  let done: unknown;
  try {
    done = data === '' ? {} : JSON.parse(data);
  } catch {
    done = { reason: data }; // a word in place of the object
  }
  const reason = isRecord(done) ? done['reason'] : undefined;
  if (typeof reason === 'string' && reason !== '') stream.fail(failureOf(reason, undefined), done);
  stream.prove('unknown');
  stream.done();
}

function failureOf(state: string, error: unknown): ErrorReport {
  const { message } = readErrorBody(error);
  return { code: state, type: undefined, message: message ?? `the prediction was ${state}` };
}

function readStatus(id: unknown, status: string, stream: Stream): void {
  if (status === stream.state.status) return;
  stream.state.status = status;
  stream.emit({ type: 'status', status, ...(typeof id === 'string' && { id }), terminal: ENDS.has(status) });
}

/** A text, or a list of its pieces. */
function textOf(output: unknown): string | undefined {
  if (typeof output === 'string') return output;
  const isPieces = Array.isArray(output) && output.every((piece) => typeof piece === 'string');
  return isPieces ? output.join('') : undefined;
}
