/** What {@link encodeSSE} writes: an event, a comment or a reconnection time. @public */
export type EncodableSSE =
  | { readonly event?: string | undefined; readonly data: string; readonly id?: string | undefined }
  | { readonly comment: string }
  | { readonly retryMs: number };

/**
 * Writes one block of a `text/event-stream`, blank line included.
 *
 * `data` may hold any text; it becomes one `data:` line for each of its lines, so that CRLF and CR arrive as LF. Lone
 * surrogates cannot be sent: encoding to UTF-8 replaces them. `event` `''` and no event both arrive as `message`; `id: ''`
 * sets the reader's last event id back, no id leaves it. Line ends and NUL are refused where they could forge a field.
 *
 * @throws TypeError for CR, LF or NUL in `event` or `id`, or a line end in `comment`
 * @throws RangeError for a `retryMs` that is no integer of at least 0
 * @see {@link https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream | HTML, 9.2.5}
 * @public
 */
export function encodeSSE(event: EncodableSSE): string {
  if ('comment' in event) {
    if (/[\r\n]/.test(event.comment)) throw new TypeError('comment must be a single line: send one for each line');
    return `: ${event.comment}\n\n`;
  }
  if ('retryMs' in event) {
    if (!Number.isSafeInteger(event.retryMs) || event.retryMs < 0) {
      throw new RangeError(`retryMs must be an integer of at least 0, got ${String(event.retryMs)}`);
    }
    return `retry: ${String(event.retryMs)}\n\n`;
  }
  const { event: type = '', data, id } = event;
  requireSingleLine('event', type);
  let block = type === '' ? '' : `event: ${type}\n`;
  if (id !== undefined) {
    requireSingleLine('id', id);
    block += `id: ${id}\n`;
  }
  return `${block}data: ${data.replace(/\r\n|\r|\n/g, '\ndata: ')}\n\n`;
}

function requireSingleLine(name: string, value: string): void {
  for (const character of ['\r', '\n', '\0']) {
    if (value.includes(character)) {
      throw new TypeError(`${name} must not hold ${JSON.stringify(character)}: it would forge or void a field`);
    }
  }
}
