/** What an API's error body or frame says, whatever its shape. */
export interface ErrorReport {
  readonly code: string | number | undefined;
  /** The API's name for the kind of error, where it gives one beside the code. */
  readonly type: string | undefined;
  readonly message: string | undefined;
}

/**
 * Reads the error shapes in circulation: `{error: {code, type, message}}` (OpenAI and its copies), `{error: 'code',
 * message | error_message}` (Infernet), `{error: 'a sentence'}`, `{detail}` as text or as FastAPI's list, `{type, title,
 * detail}` (RFC 9457), `{message, code}`, `{Message}` (a CDN), `{errors: [{key, message}]}`. A bare string is its message.
 */
export function readErrorBody(body: unknown): ErrorReport {
  if (typeof body === 'string') return { code: undefined, type: undefined, message: text(body) };
  if (!isRecord(body)) return { code: undefined, type: undefined, message: undefined };
  const error = body['error'];
  if (isRecord(error)) return inner(error);
  const message =
    text(body['error_message']) ??
    text(body['message']) ??
    text(body['Message']) ??
    detail(body['detail']) ??
    list(body['errors']) ??
    text(body['title']);
  if (typeof error === 'string') {
    // A code is one word; `{"error":"some sentence"}` is a message.
    const isCode = /^[\w.-]+$/.test(error);
    return { code: isCode ? error : code(body['code']), type: undefined, message: message ?? text(error) };
  }
  // RFC 9457, 4.2.1: `about:blank` says that there is no type beyond the status.
  const type = body['type'] === 'about:blank' ? undefined : text(body['type']);
  return { code: code(body['code']) ?? type?.split('/').at(-1), type, message };
}

function inner(error: Readonly<Record<string, unknown>>): ErrorReport {
  const type = text(error['type']);
  return {
    code: code(error['code']) ?? text(error['status']) ?? type,
    type,
    message: text(error['message']) ?? detail(error['detail']),
  };
}

function detail(value: unknown): string | undefined {
  return Array.isArray(value) ? list(value) : text(value);
}

function list(value: unknown): string | undefined {
  if (!Array.isArray(value)) return undefined;
  const messages = value.map((item: unknown) =>
    isRecord(item) ? (text(item['msg']) ?? text(item['message']) ?? text(item['key'])) : text(item),
  );
  const known = messages.filter((message) => message !== undefined);
  return known.length === 0 ? undefined : known.join('; ');
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function code(value: unknown): string | number | undefined {
  return typeof value === 'number' ? value : text(value);
}

/** True for a JSON object. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
