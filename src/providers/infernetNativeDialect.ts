import * as z from 'zod/mini';
import { type Dialect, dialect, type DialectStream } from '../protocol/dialect.js';
import type { ErrorReport } from '../protocol/errorBody.js';
import { isRecord, readErrorBody } from '../protocol/errorBody.js';
import { validate } from '../protocol/validate.js';
import type { FinishReason } from '../types.js';
import { type InfernetMessage, infernetTurn } from './infernetTurn.js';
import { SeenIds } from './seenIds.js';
import { settleText, StreamedText } from './streamedText.js';

/** How to read Infernet's native chat stream. @public */
export interface InfernetNativeDialectOptions {
  /**
   * Whether asking again can help after a failure told in the stream. Infernet documents none of this stream's messages,
   * and re-attaching replays the same failure. @defaultValue never
   */
  readonly retryable?: ((report: ErrorReport) => boolean) | undefined;
}

const Frame = z.custom<Readonly<Record<string, unknown>>>(isRecord);
const Job = z.looseObject({ id: z.nullish(z.string()), status: z.nullish(z.string()) });
const Token = z.looseObject({ text: z.nullish(z.string()) });
/** All that a token has. */
const TOKEN = { text: 'text' } as const;
const Done = z.looseObject({ text: z.nullish(z.string()), reason: z.nullish(z.string()) });

interface NativeState {
  readonly streamed: StreamedText;
  readonly ids: SeenIds;
  lastId: string;
  status: string | undefined;
}

type NativeStream = DialectStream<NativeState>;

const REASONS: Map<string, FinishReason> = new Map([
  ['stop', 'stop'],
  ['length', 'length'],
  ['cancel', 'other'],
]);

/**
 * Infernet's native chat stream: named server-sent events `job`, `meta`, `token`, `done` and `error`.
 *
 * `done` is the proof, and holds the whole answer once more: where tokens are missing their end is emitted as text; where
 * the text is another one, `restart` and the whole text. Its reasons are `stop`, `length` and `cancel` (finish `other`);
 * without one the finish is `unknown`. `job` becomes `status`, `meta` and events unknown today become `raw`. An event whose
 * id came before is a replay and becomes a heartbeat; one that merely follows under the same id is new, since live events of
 * some paths have no id of their own and a parser keeps the last. Empty tokens become heartbeats.
 *
 * A job row with status `failed` fails the stream at once: what would be replayed after it is the failed attempt's text.
 * @public
 */
export function infernetNativeDialect(options: InfernetNativeDialectOptions = {}): Dialect<InfernetMessage> {
  return dialect<Readonly<Record<string, unknown>>, NativeState, InfernetMessage>({
    name: 'infernet-native',
    frame: Frame,
    turn: infernetTurn,
    reattach: 'replay',
    start: () => ({ streamed: new StreamedText(), ids: new SeenIds(), lastId: '', status: undefined }),
    // A job row has an `error` column of its own: only the event's name tells a failure, and the row's status.
    error: (frame, event) => (event === 'error' || event === 'message' ? failure(frame, event) : undefined),
    retryable: options.retryable,
    decode: (frame, stream) => {
      if (isReplay(stream)) {
        stream.emit({ type: 'heartbeat', comment: '' });
        return;
      }
      if (stream.event === 'job') job(frame, stream);
      else if (stream.event === 'token') token(frame, stream);
      else if (stream.event === 'done') done(frame, stream);
    },
    submitted: (answer, stream) => {
      // Source and provider are told here alone, so the answer itself is handed on too.
      if (isRecord(answer)) status(answer['jobId'], answer['status'], stream);
      stream.emit({ type: 'raw', frame: answer });
    },
  });
}

function failure(frame: Readonly<Record<string, unknown>>, event: string): ErrorReport | undefined {
  if (event !== 'error' && (frame['error'] === undefined || frame['error'] === null)) return undefined;
  return readErrorBody(frame);
}

/** True for an event that was decoded before, going by its id. */
function isReplay({ id, state }: NativeStream): boolean {
  if (id === '' || id === state.lastId) return false;
  state.lastId = id;
  return !state.ids.add(id);
}

function job(frame: Readonly<Record<string, unknown>>, stream: NativeStream): void {
  const row = validate(Job, frame, 'an infernet job row');
  status(row.id, row.status, stream);
  if (row.status === 'failed') {
    // Not the whole row: its `type` is the job's kind, not the error's.
    const { error, error_message, message } = row;
    const report = readErrorBody({ error, error_message, message });
    stream.fail({ ...report, message: report.message ?? 'the job failed' }, frame);
  }
}

function status(id: unknown, word: unknown, stream: NativeStream): void {
  if (typeof word !== 'string' || word === stream.state.status) return;
  stream.state.status = word;
  const terminal = word === 'completed' || word === 'failed';
  stream.emit({ type: 'status', status: word, ...(typeof id === 'string' ? { id } : undefined), terminal });
}

function token(frame: Readonly<Record<string, unknown>>, stream: NativeStream): void {
  const { text } = validate(Token, frame, 'an infernet token');
  if (text === undefined || text === null) return;
  say(text, stream);
  stream.template(TOKEN, (next) => {
    if (isReplay(stream)) stream.emit({ type: 'heartbeat', comment: '' });
    else say(next, stream);
    return true;
  });
}

function say(text: string, stream: NativeStream): void {
  if (text === '') {
    stream.emit({ type: 'heartbeat', comment: '' });
    return;
  }
  stream.state.streamed.append(text);
  stream.emit({ type: 'text', text, index: 0, name: 'output' });
}

function done(frame: Readonly<Record<string, unknown>>, stream: NativeStream): void {
  const { text, reason } = validate(Done, frame, 'the end of an infernet answer');
  const emit = stream.emit.bind(stream);
  if (text) settleText(stream.state.streamed, text, 'done carried a different text', emit);
  if (reason) stream.prove(REASONS.get(reason) ?? 'other', reason);
  else stream.prove('unknown');
  stream.done();
}
