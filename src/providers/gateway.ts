import * as z from 'zod/mini';
import type { Call, CallRequest, LeavingPolicy } from '../protocol/call.js';
import type { Dialect } from '../protocol/dialect.js';
import type { StandardSchema } from '../protocol/standardSchema.js';
import { gatewayDialect, type GatewayDialectOptions } from './gatewayDialect.js';
import { gatewayGenerateDialect } from './gatewayGenerateDialect.js';
import { checkRequest, joinURL, keyHeader, type ProviderOptions, withDialect } from './support.js';

/** Where the gateway is and how its answers are read. @public */
export interface GatewayOptions extends ProviderOptions, GatewayDialectOptions {
  /** The API, its version included. @defaultValue `http://localhost:8000/api/v1` */
  readonly baseURL?: string | undefined;
  /** What becomes of streamed work when a reader leaves. @defaultValue `unknown`: it is not documented */
  readonly leaving?: Partial<LeavingPolicy> | undefined;
  /** Whether a model streams. @defaultValue it does unless its name contains `image`: image models do not, by the documentation */
  readonly isStreaming?: ((request: GatewayRequest) => boolean) | undefined;
}

/** One thing to give to the model. @public */
export interface GatewayInput {
  /** `text`, `image` … */
  readonly type: string;
  /** @defaultValue the server's; `input` in the documentation */
  readonly name?: string | undefined;
  readonly content: unknown;
}

/** A request, in the gateway's own names; members beside these are sent as they are. @public */
export interface GatewayRequest {
  /** Whose model it is, such as `google-gemini`. */
  readonly service_name: string;
  readonly model_name: string;
  /** A string stands for one text named `input`. */
  readonly input: string | readonly GatewayInput[];
  /** The model's own, such as `{ enable_thinking: true }`. */
  readonly parameters?: Readonly<Record<string, unknown>> | undefined;
  /** Earlier turns; the shape of an item is not documented. */
  readonly history?: readonly unknown[] | undefined;
  readonly [key: string]: unknown;
}

/** What `gateway` makes. The gateway has no work ids: nothing can be attached to, resumed or cancelled. @public */
export interface Gateway {
  /** An answer, streamed. */
  readonly chat: ((request: GatewayRequest) => Call) & { readonly dialect: Dialect };
  /** A whole answer at once, for models that do not stream; the same events. Leaving does not stop it. */
  readonly generate: ((request: GatewayRequest) => Call) & { readonly dialect: Dialect };
}

const Text = z.string('must be a string').check(z.minLength(1, 'must not be empty'));

const Request: StandardSchema<GatewayRequest> = z.looseObject(
  {
    service_name: Text,
    model_name: Text,
    input: z.union(
      [
        z.string(),
        z
          .array(z.looseObject({ type: Text, name: z.optional(z.string()), content: z.unknown() }))
          .check(z.minLength(1, 'must not be empty')),
      ],
      'must be a string, or a list of inputs with type and content',
    ),
    parameters: z.optional(z.record(z.string(), z.unknown(), 'must be an object')),
    history: z.optional(z.array(z.unknown(), 'must be a list')),
  },
  'must be an object',
);

/**
 * A self-hosted gateway to many model services, with `/generate/stream` and `/generate`. The key, sent as `X-API-Key`, comes
 * from `apiKey` or `MILLRACE_GATEWAY_API_KEY`.
 *
 * Its stream has no finish reason and no resume. Asking again after a part of the answer came bills twice, and gives another
 * text: `retryOnDisconnect` says `restart` then. Leaving closes the socket; what that ends is not documented.
 *
 * @example
 * ```ts
 * const api = gateway({ baseURL: 'https://models.example.com/api/v1' });
 * const request = { service_name: 'google-gemini', model_name: 'gemini_flash', input: 'Tell a story about a robot.' };
 * fromCall(api.chat(request)).pipe(toTokens()).subscribe(log);
 * ```
 * @throws TypeError for an option or, from its functions, a request that cannot be right, and where a key is missing
 * @public
 */
export function gateway(options: GatewayOptions = {}): Gateway {
  const { apiKey, baseURL = 'http://localhost:8000/api/v1', headers, retryable, currency } = options;
  const { isStreaming = ({ model_name }: GatewayRequest): boolean => !/image/i.test(model_name) } = options;
  const streamURL = joinURL(baseURL, '/generate/stream');
  const generateURL = joinURL(baseURL, '/generate');
  const leaving: LeavingPolicy = { stop: 'unknown', disconnect: 'unknown', ...options.leaving };
  const streamed = gatewayDialect({ retryable, currency });
  const whole = gatewayGenerateDialect({ retryable, currency });

  const make = (url: string, request: GatewayRequest, accept: string): Omit<Call, 'dialect' | 'leaving'> => {
    const { input } = request;
    const body =
      typeof input === 'string' ? { ...request, input: [{ type: 'text', name: 'input', content: input }] } : request;
    const stream: CallRequest = { method: 'POST', url, headers, body: JSON.stringify(body), accept: [accept] };
    const authorize = keyHeader('x-api-key', apiKey, 'MILLRACE_GATEWAY_API_KEY', 'gateway');
    return { provider: 'gateway', model: request.model_name, authorize, stream: () => stream, resume: { by: 'ask' } };
  };

  return {
    chat: withDialect((request: GatewayRequest): Call => {
      const asked = checkRequest(Request, request, 'the request of gateway.chat');
      if (!isStreaming(asked)) {
        throw new TypeError(
          `gateway.chat: ${asked.model_name} does not stream; use gateway.generate(), or give isStreaming if it does`,
        );
      }
      return {
        ...make(streamURL, asked, 'text/event-stream'),
        dialect: streamed,
        leaving,
        hint: 'use gateway.generate() for models that do not stream',
      };
    }, streamed),
    generate: withDialect((request: GatewayRequest): Call => {
      const asked = checkRequest(Request, request, 'the request of gateway.generate');
      // A call that does not stream runs to its end, whoever listens.
      const toItsEnd: LeavingPolicy = { stop: 'continues', disconnect: 'continues' };
      return { ...make(generateURL, asked, 'application/json'), dialect: whole, leaving: toItsEnd };
    }, whole),
  };
}
