import type { Receipt, StreamEvent, TextEvent, ThinkingEvent, Usage } from '../types.js';
import type { EncoderOptions, EventEncoder, ToldEnding, ToldFailure } from './eventFormat.js';
import { jsonOf, SSE_HEADERS, sseComment } from './sseResponse.js';

/**
 * The events themselves, one default `message` event each, which the dialect `millrace` reads back.
 *
 * ```text
 * id: 1
 * data: {"type":"text","text":"Hel","index":0,"name":"output"}
 *
 * : OPENROUTER PROCESSING                                                           heartbeat
 *
 * id: 2
 * data: {"type":"end","outcome":"complete","receipt":{…}}                           or "stopped": half an answer, on purpose
 *
 * data: {"type":"error","code":"ERR_PROVIDER","message":"…","retryable":false}      in its place
 * ```
 */
export function millraceFormat({ events }: EncoderOptions): EventEncoder {
  const { raw = false, log = false, cost = false } = events;
  let sent = 0;
  const framed = (json: string): string => {
    sent += 1;
    return `id: ${String(sent)}\ndata: ${json}\n\n`;
  };
  const block = (event: { readonly type: string; readonly [key: string]: unknown } | StreamEvent): string =>
    framed(jsonOf(event, event.type));
  /** The last piece of text, and what stands behind its text: most pieces follow one another, and it saves a third of the work. */
  let last: PlainText | undefined;
  let tail = '';
  const piece = (event: PlainText): string => {
    if (event.type !== last?.type || event.index !== last.index || event.name !== last.name) {
      last = { ...event };
      tail = `,"index":${JSON.stringify(event.index)},"name":${JSON.stringify(event.name)}}`;
    }
    return framed(`{"type":"${event.type}","text":${JSON.stringify(event.text)}${tail}`);
  };
  return {
    headers: SSE_HEADERS,
    failsByCutting: false,
    open: () => '',
    encode(event) {
      if (typeof event === 'string') {
        return event === '' ? '' : piece({ type: 'text', text: event, index: 0, name: 'output' });
      }
      if (isPlainText(event)) return piece(event);
      switch (event.type) {
        case 'raw':
          return raw ? block(event) : '';
        case 'log':
          return log ? block(event) : '';
        case 'usage':
          return block(cost ? event : { ...withoutCost(event) });
        case 'heartbeat':
          return isComment(event.comment) ? sseComment(event.comment) : block(event);
        default:
          return block(event);
      }
    },
    close: ({ outcome, receipt }: ToldEnding) =>
      block({
        type: 'end',
        outcome,
        ...(receipt !== undefined && { receipt: cost ? receipt : receiptWithoutCost(receipt) }),
      }),
    fail: ({ code, message, retryable }: ToldFailure) => block({ type: 'error', code, message, retryable }),
    heartbeat: sseComment,
  };
}

type PlainText = TextEvent | ThinkingEvent;

/** Text with the members that all text has, and no other. */
function isPlainText(event: StreamEvent): event is PlainText {
  if (event.type !== 'text' && event.type !== 'thinking') return false;
  let members = 0;
  for (const member in event) {
    if (member !== 'type' && member !== 'text' && member !== 'index' && member !== 'name') return false;
    members += 1;
  }
  return members === 4;
}

/** Whether a comment arrives as it was: one line, and no half of a surrogate pair. */
function isComment(comment: string): boolean {
  return !/[\r\n]|\p{Surrogate}/u.test(comment);
}

function withoutCost<Told extends Usage>({ cost: _, ...usage }: Told): Omit<Told, 'cost'> {
  return usage;
}

function receiptWithoutCost({ usage, usageByAttempt, ...receipt }: Receipt): Receipt {
  return {
    ...receipt,
    usage: withoutCost(usage),
    ...(usageByAttempt !== undefined && { usageByAttempt: usageByAttempt.map(withoutCost) }),
  };
}
