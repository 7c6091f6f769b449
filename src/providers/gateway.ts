import * as z from 'zod/mini';
import type { LeavingPolicy } from '../protocol/call.js';
import type { StandardSchema } from '../protocol/standardSchema.js';
import { gatewayDialect, type GatewayDialectOptions } from './gatewayDialect.js';
import { gatewayGenerateDialect } from './gatewayGenerateDialect.js';
import { type CallParts, type Calls, provider } from './provider.js';
import type { ProviderOptions } from './support.js';

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
  readonly chat: Calls<GatewayRequest>;
  /** A whole answer at once, for models that do not stream; the same events. Leaving does not stop it. */
  readonly generate: Calls<GatewayRequest>;
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
  const { retryable, currency } = options;
  const { isStreaming = ({ model_name }: GatewayRequest): boolean => !/image/i.test(model_name) } = options;
  const api = provider(
    {
      name: 'gateway',
      baseURL: 'http://localhost:8000/api/v1',
      env: 'MILLRACE_GATEWAY_API_KEY',
      keyHeader: 'x-api-key',
    },
    options,
  );
  const ask = (path: string, request: GatewayRequest, accept?: readonly string[]): CallParts => {
    const { model_name: model, input: given } = request;
    const input = typeof given === 'string' ? [{ type: 'text', name: 'input', content: given }] : given;
    return { model, stream: api.post(path, { ...request, input }, accept) };
  };

  return {
    chat: api.calls({
      name: 'chat',
      request: Request,
      dialect: gatewayDialect({ retryable, currency }),
      call: (request) => {
        if (!isStreaming(request)) {
          throw new TypeError(
            `gateway.chat: ${request.model_name} does not stream; use gateway.generate(), or give isStreaming if it does`,
          );
        }
        return { ...ask('/generate/stream', request), hint: 'use gateway.generate() for models that do not stream' };
      },
    }),
    generate: api.calls({
      name: 'generate',
      request: Request,
      dialect: gatewayGenerateDialect({ retryable, currency }),
      call: (request) => ({
        ...ask('/generate', request, ['application/json']),
        // A call that does not stream runs to its end, whoever listens.
        leaving: { stop: 'continues', disconnect: 'continues' },
      }),
    }),
  };
}
