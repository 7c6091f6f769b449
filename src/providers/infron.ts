import type { LeavingPolicy } from '../protocol/call.js';
import { type ErrorReport, isRecord } from '../protocol/errorBody.js';
import { chatCalls } from './chatCalls.js';
import type { ChatRequest } from './chatRequest.js';
import type { ChatTurn } from './chatTurn.js';
import { type Calls, provider } from './provider.js';
import { stopsBilling } from './stopsBilling.js';
import type { ProviderOptions } from './support.js';

/** Where Infron is and how its streams are read. @public */
export interface InfronOptions extends ProviderOptions {
  /** @defaultValue `https://llm.onerouter.pro/v1` */
  readonly baseURL?: string | undefined;
  /**
   * The upstream that answers, such as `'Groq'`, where the caller knows: it decides what leaving does to the bill.
   * @defaultValue the request's `provider.order[0]`, else what stands before the slash in the model's name
   */
  readonly upstream?: string | undefined;
  /** What becomes of the bill when a reader leaves. @defaultValue by the upstream, see `stopsBilling`; `unknown` for others */
  readonly leaving?: Partial<LeavingPolicy> | undefined;
  /** What `cost` is counted in (ISO 4217). @defaultValue not told: the documentation does not say */
  readonly currency?: string | undefined;
  /** Whether asking again can help after a failure told in the stream. @defaultValue as in `chatDialect` */
  readonly retryable?: ((report: ErrorReport) => boolean) | undefined;
}

/** A chat completion; members beside these are sent as they are. @public */
export interface InfronChatRequest extends ChatRequest {
  /** How hard a reasoning model thinks. */
  readonly reasoning?: Readonly<Record<string, unknown>> | undefined;
  /** Routing: which upstreams to try, in which order. */
  readonly provider?: InfronRouting | undefined;
}

/** Which upstreams to try. @public */
export interface InfronRouting {
  readonly order?: readonly string[] | undefined;
  readonly service_tier?: string | undefined;
  readonly [key: string]: unknown;
}

/** What `infron` makes. Infron has no work ids: nothing can be attached to or resumed. @public */
export interface Infron {
  /** A chat completion, streamed. */
  readonly chat: Calls<InfronChatRequest, ChatTurn>;
}

/**
 * Infron (OneRouter), a router over many upstreams. The key comes from `apiKey` or `INFRON_API_KEY`.
 *
 * While an upstream is slow Infron sends comments, which become heartbeats: a clock on content, not on bytes, tells whether
 * the answer moves. Usage is asked for unless `stream_options` says otherwise. Leaving closes the socket, and it depends on the
 * upstream whether that ends the bill: receipts say `ended`, `continues` or `unknown`. The upstream is a guess where the
 * request does not pin one, since a model may be served by others than its maker; `leaving` overrides it.
 *
 * @example
 * ```ts
 * const api = infron({ apiKey });
 * const messages = [{ role: 'user', content: 'Why do rivers meander?' }];
 * fromCall(api.chat({ model: 'deepseek/deepseek-chat', messages })).pipe(toTokens()).subscribe(log);
 * ```
 * @throws TypeError for an option or, from its functions, a request that cannot be right, and where a key is missing
 * @public
 */
export function infron(options: InfronOptions = {}): Infron {
  const { currency, retryable, upstream } = options;
  const api = provider({ name: 'infron', baseURL: 'https://llm.onerouter.pro/v1', env: 'INFRON_API_KEY' }, options);
  const leaving = (request: ChatRequest): LeavingPolicy => ({
    ...leavingOf(upstream ?? upstreamOf(request)),
    ...options.leaving,
  });
  return { chat: chatCalls(api, { name: 'infron', currency, retryable, leaving, continues: { by: 'message' } }) };
}

function leavingOf(upstream: string | undefined): LeavingPolicy {
  const stops = upstream === undefined ? undefined : stopsBilling(upstream);
  if (stops === undefined) return { stop: 'unknown', disconnect: 'unknown' };
  return stops ? { stop: 'ended', disconnect: 'ended' } : { stop: 'continues', disconnect: 'continues' };
}

function upstreamOf({ model, provider }: ChatRequest): string | undefined {
  const order = isRecord(provider) ? provider['order'] : undefined;
  const first: unknown = Array.isArray(order) ? order[0] : undefined;
  if (typeof first === 'string') return first;
  const slash = model.indexOf('/');
  return slash > 0 ? model.slice(0, slash) : undefined;
}
