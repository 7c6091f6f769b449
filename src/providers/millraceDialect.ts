import * as z from 'zod/mini';
import type { Dialect } from '../protocol/dialect.js';
import {
  type MillraceChecks,
  MillraceDecoder,
  type MillraceEnd,
  type MillraceFailure,
} from '../protocol/millraceDecoder.js';
import type { StandardSchema } from '../protocol/standardSchema.js';
import { validate } from '../protocol/validate.js';
import type { StreamEvent } from '../types.js';

const text = z.string();
const number = z.number();
const place = { index: number, name: text };
const call = { index: number, id: text, name: text };

/** The events as they are sent; words of a later version pass, and so do keys. */
const EVENTS: ReadonlyMap<string | undefined, StandardSchema> = new Map<StreamEvent['type'], StandardSchema>([
  ['text', z.looseObject({ ...place, text })],
  ['thinking', z.looseObject({ ...place, text })],
  ['refusal', z.looseObject({ ...place, text })],
  ['tool-call-delta', z.looseObject({ ...call, argumentsDelta: text })],
  ['tool-call', z.looseObject({ ...call, argumentsText: text })],
  ['tool-result', z.looseObject(call)],
  ['status', z.looseObject({ status: text, terminal: z.boolean() })],
  ['progress', z.looseObject({ current: number })],
  ['log', z.looseObject({ message: text })],
  ['output', z.looseObject({ final: z.boolean() })],
  ['media', z.looseObject({ ...place, kind: text })],
  ['usage', z.looseObject({ provenance: text })],
  ['warning', z.looseObject({ code: text, message: text })],
  ['heartbeat', z.looseObject({ comment: text })],
  ['finish', z.looseObject({ reason: text })],
  ['restart', z.looseObject({ attempt: number, because: text, discard: z.looseObject({ chars: number }) })],
  ['raw', z.looseObject({})],
]);

const end: StandardSchema<MillraceEnd> = z.looseObject({ outcome: text });
const failure: StandardSchema<MillraceFailure> = z.looseObject({
  code: z.optional(text),
  message: z.optional(text),
  retryable: z.optional(z.boolean()),
});

const CHECKS: MillraceChecks = {
  name: 'millrace',
  frame: z.looseObject({ type: z.optional(text) }),
  event: (told) => {
    const schema = EVENTS.get(told.type);
    if (schema !== undefined) validate(schema, told, `a millrace ${String(told.type)} event`);
    return schema !== undefined;
  },
  end: (told) => validate(end, told, 'a millrace end'),
  failure: (told) => validate(failure, told, 'a millrace error'),
};

/**
 * The dialect of millrace's own format, which `toNodeResponse` and `responseFrom` write: a page, or another service, reads the very
 * same events.
 *
 * ```text
 * data: {"type":"text","text":"Hel","index":0,"name":"output"}      the event itself
 * : OPENROUTER PROCESSING                                           heartbeat
 * data: {"type":"end","outcome":"complete"}                         complete
 * ```
 * - *End*: the `end` line of an answer that is complete there. Without it the stream was interrupted, also behind `finish`, which is
 *   told when the end has come.
 * - *Failures* are ProviderErrors with the server's `code`, message and `retryable`; where the server's own upstream was cut, an
 *   InterruptedError, as if there were no server between.
 * - *Stopped on purpose* at the server: a ProviderError with the code `stopped`, since half an answer is none; worth another
 *   try where the server was only shutting down.
 * - *Events of a later version* arrive as `raw`.
 *
 * @example
 * ```ts
 * fromHTTP('/api/answer', { method: 'POST', body }).pipe(parseSSE(), decode(millrace), toTokens()).subscribe(log);
 * ```
 * @public
 */
export const millrace: Dialect = {
  name: 'millrace',
  framing: 'sse',
  decoder: (options) => new MillraceDecoder(CHECKS, options),
};
