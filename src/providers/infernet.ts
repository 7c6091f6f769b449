import * as z from 'zod/mini';
import type { CallRequest, ResumePlan } from '../protocol/call.js';
import { isRecord } from '../protocol/errorBody.js';
import type { StandardSchema } from '../protocol/standardSchema.js';
import { attachCalls } from './attachCalls.js';
import { chatDialect } from './chatDialect.js';
import type { ChatRequest } from './chatRequest.js';
import { chatToolPlan } from './chatTools.js';
import type { ChatTurn } from './chatTurn.js';
import { continueChat } from './continueChat.js';
import { infernetJobsDialect, type InfernetJobsDialectOptions } from './infernetJobsDialect.js';
import { infernetNativeDialect } from './infernetNativeDialect.js';
import type { InfernetMessage } from './infernetTurn.js';
import { pathSegment, readId } from './pathSegment.js';
import { type CallParts, type Calls, provider, type ProviderDefinition } from './provider.js';
import { askAgain, isRelative, type ProviderOptions } from './support.js';

export type { InfernetMessage } from './infernetTurn.js';

/** Where Infernet is and how its streams are read. @public */
export interface InfernetOptions
  extends ProviderOptions, Pick<InfernetJobsDialectOptions, 'inlineThinking' | 'retryable'> {
  /** The Jobs API. @defaultValue `https://infernetprotocol.com/api/v1` */
  readonly baseURL?: string | undefined;
  /**
   * The server of the native chat (`/api/chat`) and of the OpenAI dialect (`/v1/chat/completions`).
   * @defaultValue the origin of `baseURL`
   */
  readonly originURL?: string | undefined;
}

/** A job; members beside these are sent as they are. @public */
export interface InfernetRequest {
  readonly model: string;
  readonly messages: readonly InfernetMessage[];
  /** @defaultValue the server's, 512 */
  readonly max_tokens?: number | undefined;
  readonly temperature?: number | undefined;
  readonly top_p?: number | undefined;
  /** Pins a node. */
  readonly node_id?: string | undefined;
  readonly [key: string]: unknown;
}

/** A native chat; members beside these are sent as they are. @public */
export interface InfernetNativeRequest {
  readonly messages: readonly InfernetMessage[];
  readonly modelName?: string | undefined;
  readonly maxTokens?: number | undefined;
  readonly temperature?: number | undefined;
  readonly distributed?: boolean | undefined;
  readonly providerId?: string | undefined;
  readonly [key: string]: unknown;
}

/** A function that makes calls, with the dialect they are answered in. @public */
export type InfernetCalls<Request, Turn = InfernetMessage> = Calls<Request, Turn>;

/** What `infernet` makes. @public */
export interface Infernet {
  /** Submits a job, then reads its stream: the way that can be joined again after a cut. */
  readonly chat: InfernetCalls<InfernetRequest>;
  /** Submits a job and reads its stream in one request. Nothing tells the job's id, so a cut stream is lost. */
  readonly direct: InfernetCalls<InfernetRequest>;
  /** Reads the stream of a job that exists. */
  readonly attach: InfernetCalls<string>;
  /** The native chat of Infernet's own server. */
  readonly native: InfernetCalls<InfernetNativeRequest>;
  /** Reads the stream of a native chat job that exists; it begins anew. */
  readonly attachNative: InfernetCalls<string>;
  /**
   * The OpenAI dialect. This surface makes up a clean end where a node just went silent, so a cut answer cannot be told from a
   * whole one: prefer `chat`. Text only: a content is a string, or nothing in an assistant's message.
   */
  readonly openai: InfernetCalls<ChatRequest, ChatTurn>;
}

const BASE_URL = 'https://infernetprotocol.com/api/v1';
const JSON_ANSWER = ['application/json'];
/** Between two readings of a job; a token has 60 requests a minute. Chosen. */
const POLL_MS = 2_000;

const Model = z.string().check(z.minLength(1));
const Messages = z.array(z.looseObject({ role: z.string(), content: z.string() })).check(z.minLength(1));
const JobRequest: StandardSchema<InfernetRequest> = z.looseObject({ model: Model, messages: Messages });
const NativeRequest: StandardSchema<InfernetNativeRequest> = z.looseObject({
  messages: Messages,
  modelName: z.optional(z.string()),
});
/** The assistant's turn is sent back without text where it only called tools. */
const ChatMessages = z
  .array(
    z
      .looseObject({ role: z.string(), content: z.nullish(z.string()) })
      .check(
        z.refine(({ role, content }) => role === 'assistant' || typeof content === 'string', { path: ['content'] }),
      ),
  )
  .check(z.minLength(1));
const OpenAIRequest: StandardSchema<ChatRequest> = z.looseObject({ model: Model, messages: ChatMessages });
/**
 * Infernet, a network of inference nodes: its Jobs API, the native chat of its open server, and its OpenAI dialect.
 *
 * Infernet has no way to cancel: whoever stops or leaves, the job runs to its end and is billed. The native chat of the
 * public instance asks for no key, so there only a key that is given as `apiKey` is sent; the others read `INFERNET_API_KEY`.
 *
 * @example
 * ```ts
 * const api = infernet({ apiKey });
 * fromCall(api.chat({ model: 'qwen2.5:14b', messages: [{ role: 'user', content: 'Where does the Rhône meet the Saône?' }] }))
 *   .pipe(toTokens())
 *   .subscribe((token) => process.stdout.write(token));
 * ```
 * @throws TypeError for an option or, from its functions, a request that cannot be right, and where a key is missing
 * @public
 */
export function infernet(options: InfernetOptions = {}): Infernet {
  const { inlineThinking, retryable, baseURL = BASE_URL } = options;
  const definition: ProviderDefinition = {
    name: 'infernet',
    baseURL,
    env: 'INFERNET_API_KEY',
    leaving: { stop: 'continues', disconnect: 'continues' },
  };
  const api = provider(definition, options);
  const origin = isRelative(baseURL) ? '/' : new URL(baseURL).origin;
  const atOrigin = { ...options, baseURL: options.originURL ?? origin };
  const server = provider(definition, atOrigin);
  const openServer = provider({ ...definition, env: undefined, key: 'optional' }, atOrigin);

  const jobsDialect = infernetJobsDialect({ inlineThinking, retryable });
  const nativeDialect = infernetNativeDialect({ retryable });
  const job = (id: string): string => `/jobs/${pathSegment(id, 'the job id')}`;
  const jobs = {
    stream: (id: string): CallRequest => api.get(`${job(id)}/stream`),
    resume: {
      by: 'reattach',
      stored: { request: (id) => api.get(job(id), JSON_ANSWER), use: 'around', everyMs: POLL_MS },
    } satisfies ResumePlan,
  };
  const natives = {
    stream: (id: string): CallRequest => server.get(`/api/chat/stream/${pathSegment(id, 'the job id')}`),
    resume: { by: 'reattach' } satisfies ResumePlan,
  };
  const askDirect = (request: InfernetRequest): CallRequest => api.post('/jobs', { ...request, stream: true });
  const askOpenAI = (request: ChatRequest): CallRequest =>
    server.post('/v1/chat/completions', { ...request, stream: true });

  const openai: Infernet['openai'] = server.calls({
    name: 'openai',
    request: OpenAIRequest,
    dialect: chatDialect({ name: 'infernet-openai', retryable }),
    call: (request): CallParts => ({
      stream: askOpenAI(request),
      resume: askAgain(askOpenAI, (text) => continueChat(request, text)),
      tools: chatToolPlan(openai, request),
    }),
  });
  return {
    chat: api.calls({
      name: 'chat',
      request: JobRequest,
      dialect: jobsDialect,
      call: (request) => ({
        ...jobs,
        submit: api.post('/jobs', { ...request, stream: false }, JSON_ANSWER),
        readWorkId: (answer) => readId(isRecord(answer) ? answer['id'] : undefined, 'the job id'),
      }),
    }),
    direct: api.calls({
      name: 'direct',
      request: JobRequest,
      dialect: jobsDialect,
      call: (request) => ({
        stream: askDirect(request),
        resume: askAgain(askDirect, (text) => continueChat(request, text)),
      }),
    }),
    attach: attachCalls(api, { ...jobs, name: 'attach', dialect: jobsDialect }),
    native: openServer.calls({
      name: 'native',
      request: NativeRequest,
      dialect: nativeDialect,
      call: (request) => ({
        ...natives,
        model: request.modelName,
        submit: server.post('/api/chat', request, JSON_ANSWER),
        readWorkId: readNativeId,
      }),
    }),
    attachNative: attachCalls(openServer, { ...natives, name: 'attachNative', dialect: nativeDialect }),
    openai,
  };
}

/** The id under which the stream stands: the end of `streamUrl`, of which nothing else is believed, else the job's id. */
function readNativeId(answer: unknown): string {
  const { jobId, streamUrl } = isRecord(answer) ? answer : {};
  const path = typeof streamUrl === 'string' ? /\/api\/chat\/stream\/([^/?#]+)/.exec(streamUrl) : null;
  const segment = path?.[1];
  if (segment !== undefined && /^[\w.~-]+$/.test(segment)) return readId(segment, 'the job id');
  return readId(jobId, 'the job id');
}
