/** The code of an error or of the first of its causes that has one: `fetch` and happy-eyeballs wrap theirs. */
export function failureCode(error: unknown, depth = 0): string | undefined {
  if (typeof error !== 'object' || error === null || depth > 4) return undefined;
  const { code, cause, errors } = error as { code?: unknown; cause?: unknown; errors?: unknown };
  if (typeof code === 'string') return code;
  return failureCode(cause, depth + 1) ?? (Array.isArray(errors) ? failureCode(errors[0], depth + 1) : undefined);
}

/** An error in its own words, with its code. */
export function failureText(cause: unknown): string {
  const code = failureCode(cause);
  const message = cause instanceof Error ? cause.message : String(cause);
  return code === undefined || message.includes(code) ? message : `${message} (${code})`;
}
