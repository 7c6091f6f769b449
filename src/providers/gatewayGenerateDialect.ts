import * as z from 'zod/mini';
import { type Dialect, dialect } from '../protocol/dialect.js';
import { isRecord } from '../protocol/errorBody.js';
import { extrasOf } from './chatExtras.js';
import type { GatewayDialectOptions } from './gatewayDialect.js';
import { endGatewayAnswer, gatewayFailure, type GatewayState, readGatewayItem } from './gatewayItem.js';
import { isRetryableChatError } from './isRetryableChatError.js';

type Fields = Readonly<Record<string, unknown>>;

const READ_KEYS: ReadonlySet<string> = new Set([
  ...['type', 'name', 'index', 'done', 'final', 'is_final', 'error', 'detail'],
  ...['output', 'content', 'text', 'usage', 'cost', 'warnings', 'finish_reason'],
]);

/**
 * The gateway's answer to `/generate`, which does not stream: one JSON document becomes the same events. Its shape is not
 * documented. Read are a list of items, alone or as `output`; one item, alone or as `output`; a text as `output`, `content` or
 * `text`; with `usage`, `cost` and `warnings` beside them. Any other shape is an `output` event with the whole document.
 *
 * The document is the proof of its own end: a cut one is no JSON.
 * @public
 */
export function gatewayGenerateDialect(options: GatewayDialectOptions = {}): Dialect {
  const { retryable = isRetryableChatError, currency = 'USD' } = options;
  return dialect<unknown, GatewayState>({
    name: 'gateway-generate',
    framing: 'ndjson',
    frame: z.unknown(),
    values: 'any',
    retryable,
    error: gatewayFailure,
    start: () => ({ finishReason: undefined, extras: '' }),
    decode: (body, stream) => {
      const fields = isRecord(body) ? body : {};
      const items = itemsOf(body);
      if (items === undefined) stream.emit({ type: 'output', value: body, final: true });
      else {
        for (const [position, item] of items.entries()) {
          if (item['type'] === 'error') {
            const report = gatewayFailure(item, stream.event);
            if (report !== undefined) stream.fail(report, body);
          }
          readGatewayItem(item, position, stream);
        }
        if (extrasOf(fields, READ_KEYS) !== '') stream.emit({ type: 'raw', frame: body });
      }
      endGatewayAnswer(fields, currency, stream);
    },
  });
}

/** The items of an answer, in its order; undefined for a shape that is not known. */
function itemsOf(body: unknown): readonly Fields[] | undefined {
  if (typeof body === 'string') return [{ content: body }];
  if (Array.isArray(body)) return itemsOfList(body);
  if (!isRecord(body)) return undefined;
  const { output, content, text } = body;
  if (Array.isArray(output)) return itemsOfList(output);
  if (isRecord(output)) return 'content' in output ? [output] : undefined;
  if (typeof output === 'string') return [{ content: output }];
  if (content !== undefined) return [body];
  return typeof text === 'string' ? [{ content: text }] : undefined;
}

function itemsOfList(list: readonly unknown[]): readonly Fields[] | undefined {
  const items: Fields[] = [];
  for (const item of list) {
    if (typeof item === 'string') items.push({ content: item });
    else if (isRecord(item) && 'content' in item) items.push(item);
    else return undefined;
  }
  return items;
}
