import * as z from 'zod/mini';
import { type Dialect, dialect } from '../protocol/dialect.js';
import { type ErrorReport, isRecord } from '../protocol/errorBody.js';
import { extrasOf } from './chatExtras.js';
import {
  endGatewayAnswer,
  gatewayFailure,
  type GatewayState,
  type GatewayStream,
  noteFinishReason,
  offerGatewayText,
  readGatewayItem,
} from './gatewayItem.js';
import { isRetryableChatError } from './isRetryableChatError.js';

/** How to read a gateway's answers. @public */
export interface GatewayDialectOptions {
  /**
   * Whether asking again can help after a failure told in the stream; the gateway documents none.
   * @defaultValue as for the chat family: overload, rate limits, timeouts and failures of the server
   */
  readonly retryable?: ((report: ErrorReport) => boolean) | undefined;
  /** What `cost` is counted in (ISO 4217); the documentation implies it. @defaultValue `'USD'` */
  readonly currency?: string | undefined;
}

type Fields = Readonly<Record<string, unknown>>;

const Frame = z.custom<Fields>(isRecord);
const ITEM_KEYS: ReadonlySet<string> = new Set([
  'type',
  'name',
  'content',
  'done',
  'index',
  'is_final',
  'error',
  'detail',
]);
const FINAL_KEYS: ReadonlySet<string> = new Set([...ITEM_KEYS, 'final', 'usage', 'cost', 'warnings', 'finish_reason']);

/**
 * The gateway's stream: pieces of items, told apart by `index` and `name`, then one object that ends the answer.
 *
 * ```text
 * data: {"type":"text","name":"thinking","content":"Consider …","done":false,"index":0,"is_final":false}
 * data: {"type":"text","name":"output","content":"The robot ","done":false,"index":1,"is_final":false}
 * data: {"final":true,"usage":{"input_tokens":24,"output_tokens":512},"cost":{"total":0.0001554},"warnings":[]}
 * ```
 *
 * - *Items*: text named `thinking` is thinking, other text keeps its name; images and sounds are `media`; metadata, unknown
 *   types and text that is no string are `raw`. `done` ends an item, never the stream.
 * - *End*: `final: true` is the proof and the end, and so is `is_final: true` beside `usage`. `is_final` on a piece of content
 *   is content: the end is awaited. `[DONE]` is not part of this format; where it comes without the end the stream is complete
 *   with the warning `finish-reason-missing`. The finish reason is `unknown` unless metadata states one.
 * - *Usage* stands in the last object, the cost at full precision; each of its `warnings` is a `warning` `provider-warning`.
 * - *Failures*: `error`, `detail` (text or FastAPI's list), and items of type `error`.
 * @public
 */
export function gatewayDialect(options: GatewayDialectOptions = {}): Dialect {
  const { retryable = isRetryableChatError, currency = 'USD' } = options;
  return dialect<Fields, GatewayState>({
    name: 'gateway',
    frame: Frame,
    marker: '[DONE]',
    markerAlone: 'doubtful',
    retryable,
    error: gatewayFailure,
    start: () => ({ finishReason: undefined, extras: '' }),
    decode: (frame, stream) => {
      const isItem = 'content' in frame;
      const hasContent = isItem && readGatewayItem(frame, 0, stream);
      const isEnd = frame['final'] === true || (frame['is_final'] === true && isRecord(frame['usage']));
      if (!isItem && !isEnd) return; // arrives as `raw`
      const extras = extrasOf(frame, isEnd ? FINAL_KEYS : ITEM_KEYS);
      noteExtras(extras, frame, hasContent || isEnd, stream);
      noteFinishReason(frame, stream.state);
      if (isEnd) endGatewayAnswer(frame, currency, stream);
      else offerGatewayText(frame, extras, stream);
    },
  });
}

/** A frame with keys that nothing reads is also emitted whole, when they changed; one without effect arrives so anyway. */
function noteExtras(extras: string, frame: Fields, isRead: boolean, stream: GatewayStream): void {
  if (extras === '' || extras === stream.state.extras) return;
  stream.state.extras = extras;
  if (isRead) stream.emit({ type: 'raw', frame });
}
