/**
 * What an error of undici's HTTP parser says of an answer: it was cut, or it is broken; `undefined` for any other error. Takes out
 * of it the bytes at which it failed, which may be model output: errors of ours show none.
 */
export function parserFailure(error: unknown): 'lost' | 'protocol' | undefined {
  if (!(error instanceof Error) || error.name !== 'HTTPParserError') return undefined;
  const { code, message } = error as Error & { readonly code?: unknown };
  (error as { data?: unknown }).data = undefined;
  // lost: the connection closed inside a chunk. undici 7.30.2 has no name for this error of its parser, only the text.
  return code === 'HPE_INVALID_EOF_STATE' || message.includes('Invalid EOF state') ? 'lost' : 'protocol';
}
