import type { DialectStream } from '../protocol/dialect.js';
import { type ErrorReport, isRecord, readErrorBody } from '../protocol/errorBody.js';
import { readFailure } from '../protocol/dialect.js';
import type { Cost, OutputPlace, Usage } from '../types.js';
import { isBlank } from './chatExtras.js';
import { finishReasonOf } from './chatFinish.js';

type Fields = Readonly<Record<string, unknown>>;

/** What a gateway's stream has told so far, besides its items. */
export interface GatewayState {
  /** Stated in metadata by some services; the API itself has none. */
  finishReason: string | undefined;
  /** Keys that nothing reads, to tell when they change. */
  extras: string;
}

export type GatewayStream = DialectStream<GatewayState>;

const MEDIA: ReadonlySet<string> = new Set(['image', 'audio', 'video', 'file']);

/** Translates one item of an answer, or a piece of one. False where there was nothing in it. */
export function readGatewayItem(item: Fields, position: number, stream: GatewayStream): boolean {
  const { content } = item;
  const type = typeOf(item);
  if (isBlank(content)) return false;
  const place = placeOf(item, position);
  if (type === 'text' && typeof content === 'string') {
    say(content, place, stream);
  } else if (MEDIA.has(type)) {
    stream.emit({ type: 'media', kind: type, content, ...place });
  } else {
    if (type === 'metadata' && isRecord(content)) noteFinishReason(content, stream.state);
    stream.emit({ type: 'raw', frame: item });
  }
  return true;
}

/**
 * Says of a piece that brought a text, and what it repeated of `extras`, that those like it do so too. It stands alone in its frame.
 */
export function offerGatewayText(item: Fields, extras: string, stream: GatewayStream): void {
  if (typeOf(item) !== 'text' || !isBlank(item['finish_reason'])) return;
  const place = placeOf(item, 0);
  stream.template(PIECE, (text) => {
    if (extras !== '' && extras !== stream.state.extras) return false;
    say(text, place, stream);
    return true;
  });
}

const PIECE = { text: 'content' } as const;

function say(text: string, { index, name }: OutputPlace, stream: GatewayStream): void {
  stream.emit({ type: name === 'thinking' ? 'thinking' : 'text', text, index, name });
}

function typeOf({ type }: Fields): string {
  return typeof type === 'string' ? type : 'text';
}

function placeOf({ index, name }: Fields, position: number): OutputPlace {
  return {
    index: typeof index === 'number' ? index : position,
    name: typeof name === 'string' ? name : 'output',
  };
}

/** Remembers why the model stopped, where a service says so. */
export function noteFinishReason(fields: Fields, state: GatewayState): void {
  const reason = fields['finish_reason'];
  if (typeof reason === 'string' && reason !== '') state.finishReason = reason;
}

/** Emits usage, cost and warnings, and ends the answer. */
export function endGatewayAnswer(frame: Fields, currency: string, stream: GatewayStream): void {
  const usage = readUsage(frame, currency);
  if (usage !== undefined) stream.emit({ type: 'usage', ...usage });
  const { warnings } = frame;
  for (const warning of Array.isArray(warnings) ? (warnings as unknown[]) : []) {
    const message = readErrorBody(warning).message ?? 'The gateway sent a warning without text';
    stream.emit({ type: 'warning', code: 'provider-warning', message, detail: warning });
  }
  noteFinishReason(frame, stream.state);
  const { finishReason } = stream.state;
  if (finishReason === undefined) stream.prove('unknown');
  else stream.prove(finishReasonOf(finishReason), finishReason);
  stream.done();
}

/** How the gateway reports a failure is not documented: read are the shapes that servers of its kind use. */
export function gatewayFailure(frame: Fields, event: string): ErrorReport | undefined {
  const failure = readFailure(frame, event);
  if (failure !== undefined) return failure;
  if (frame['type'] === 'error') {
    const report = readErrorBody(frame);
    return { ...report, message: report.message ?? readErrorBody(frame['content']).message };
  }
  const isOther = frame['content'] !== undefined || frame['final'] === true || frame['output'] !== undefined;
  return isOther || isBlank(frame['detail']) ? undefined : readErrorBody(frame);
}

function readUsage(frame: Fields, currency: string): Usage | undefined {
  const used = isRecord(frame['usage']) ? frame['usage'] : {};
  const cost = readCost(frame['cost'], currency);
  const counts = {
    ...count('inputTokens', used['input_tokens']),
    ...count('outputTokens', used['output_tokens']),
    ...count('totalTokens', used['total_tokens']),
    ...(cost === undefined ? undefined : { cost }),
  };
  return Object.keys(counts).length === 0 ? undefined : { ...counts, provenance: 'reported' };
}

function readCost(value: unknown, currency: string): Cost | undefined {
  const cost = isRecord(value) ? value : { total: value };
  const parts = {
    ...count('input', cost['input']),
    ...count('output', cost['output']),
    ...count('total', cost['total']),
  };
  return Object.keys(parts).length === 0 ? undefined : { ...parts, currency };
}

type Count = 'inputTokens' | 'outputTokens' | 'totalTokens' | 'input' | 'output' | 'total';

function count(key: Count, value: unknown): Readonly<Partial<Record<Count, number>>> {
  return typeof value === 'number' && value >= 0 ? { [key]: value } : {};
}
