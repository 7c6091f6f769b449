/** The media type of a `content-type` header, in lower case and without parameters; empty where there is none. */
export function mediaType(header: string | undefined): string {
  return (header ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
}

/**
 * Whether an answer of this type may be read as a stream. A page is never one; a JSON document is one only when the caller
 * named it. Everything else passes, since servers that send events as `text/plain`, as octets or without a type exist.
 */
export function isAcceptable(type: string, accept: readonly string[]): boolean {
  const named = accept.map(mediaType);
  if (named.includes('*/*') || named.includes(type)) return true;
  return (
    type !== 'text/html' && type !== 'application/xhtml+xml' && type !== 'application/json' && !type.endsWith('+json')
  );
}
