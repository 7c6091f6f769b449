/**
 * The form in which an event id goes into a header: its UTF-8 bytes as characters, as HTML, 9.2.4 has it.
 * @returns `undefined` for an id that would not arrive as it is: line ends and control characters have no place in a header,
 *   outer spaces and tabs are trimmed on the way, and half a surrogate pair has no UTF-8
 * @see {@link https://html.spec.whatwg.org/multipage/server-sent-events.html#the-last-event-id-header | HTML, 9.2.4}
 */
export function encodeLastEventId(id: string): string | undefined {
  // eslint-disable-next-line no-control-regex -- these are what is looked for
  if (/[\0-\x08\n-\x1f\x7f]|^[\t ]|[\t ]$|\p{Surrogate}/u.test(id)) return undefined;
  if (/^[\t -~]*$/.test(id)) return id;
  let header = '';
  for (const byte of new TextEncoder().encode(id)) header += String.fromCharCode(byte);
  return header;
}
