import * as z from 'zod/mini';
import type { Call, CallRequest, LeavingPolicy, ResumePlan } from '../protocol/call.js';
import type { Dialect } from '../protocol/dialect.js';
import { isRecord } from '../protocol/errorBody.js';
import { chatDialect } from './chatDialect.js';
import { continueChat } from './continueChat.js';
import { infernetJobsDialect, type InfernetJobsDialectOptions } from './infernetJobsDialect.js';
import { infernetNativeDialect } from './infernetNativeDialect.js';
import { pathSegment, readId } from './pathSegment.js';
import { bearer, checkRequest, joinURL, type ProviderOptions, withDialect } from './support.js';

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

/** One message of a conversation; Infernet takes text only. @public */
export interface InfernetMessage {
  readonly role: string;
  readonly content: string;
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
export type InfernetCalls<Request> = ((request: Request) => Call) & { readonly dialect: Dialect };

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
   * whole one: prefer `chat`.
   */
  readonly openai: InfernetCalls<InfernetRequest>;
}

const BASE_URL = 'https://infernetprotocol.com/api/v1';
const SSE = ['text/event-stream'];
const JSON_ANSWER = ['application/json'];
/** Between two readings of a job; a token has 60 requests a minute. Chosen. */
const POLL_MS = 2_000;

const Messages = z.array(z.looseObject({ role: z.string(), content: z.string() })).check(z.minLength(1));
const JobRequest = z.looseObject({ model: z.string().check(z.minLength(1)), messages: Messages });
const NativeRequest = z.looseObject({ messages: Messages, modelName: z.optional(z.string()) });

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
  const { apiKey, baseURL = BASE_URL, headers, inlineThinking, retryable } = options;
  const jobsURL = joinURL(baseURL, '/jobs');
  const originURL = options.originURL ?? new URL(baseURL).origin;
  const chatURL = joinURL(originURL, '/api/chat');
  const completionsURL = joinURL(originURL, '/v1/chat/completions');
  const leaving: LeavingPolicy = { stop: 'continues', disconnect: 'continues', ...options.leaving };

  const withKey = (): Call['authorize'] => bearer(apiKey, 'INFERNET_API_KEY', 'infernet');
  const nativeAuthorize: Call['authorize'] = apiKey === undefined ? () => ({}) : withKey();

  const jobs = infernetJobsDialect({ inlineThinking, retryable });
  const native = infernetNativeDialect({ retryable });
  const openai = chatDialect({ name: 'infernet-openai', retryable });

  const post = (url: string, body: unknown, accept: readonly string[]): CallRequest => ({
    method: 'POST',
    url,
    headers,
    body: JSON.stringify(body),
    accept,
  });
  const get = (url: string): CallRequest => ({ method: 'GET', url, headers, accept: SSE });
  const jobStream = (id: string): CallRequest => get(joinURL(baseURL, `/jobs/${pathSegment(id, 'the job id')}/stream`));
  const chatStream = (id: string): CallRequest =>
    get(joinURL(originURL, `/api/chat/stream/${pathSegment(id, 'the job id')}`));
  const common = { provider: 'infernet', leaving };
  const resumeJob: ResumePlan = {
    by: 'reattach',
    stored: {
      request: (id) => ({
        ...get(joinURL(baseURL, `/jobs/${pathSegment(id, 'the job id')}`)),
        accept: JSON_ANSWER,
      }),
      use: 'around',
      everyMs: POLL_MS,
    },
  };
  const resumeNative: ResumePlan = { by: 'reattach' };
  const askAgain = (url: string, request: InfernetRequest): ResumePlan => ({
    by: 'ask',
    continueWith: (text) => {
      const rest = continueChat(request, text);
      return rest && post(url, { ...rest, stream: true }, SSE);
    },
  });

  return {
    chat: withDialect((request: InfernetRequest): Call => {
      const { model } = checkRequest(JobRequest, request, 'the request of infernet.chat');
      return {
        ...common,
        model,
        dialect: jobs,
        authorize: withKey(),
        submit: post(jobsURL, { ...request, stream: false }, JSON_ANSWER),
        readWorkId: (answer) => readId(isRecord(answer) ? answer['id'] : undefined, 'the job id'),
        stream: jobStream,
        resume: resumeJob,
      };
    }, jobs),
    direct: withDialect((request: InfernetRequest): Call => {
      const { model } = checkRequest(JobRequest, request, 'the request of infernet.direct');
      const asked = post(jobsURL, { ...request, stream: true }, SSE);
      const resume = askAgain(jobsURL, request);
      return { ...common, model, dialect: jobs, authorize: withKey(), stream: () => asked, resume };
    }, jobs),
    attach: withDialect((jobId: string): Call => {
      jobStream(jobId); // throws where the id is wrong
      return { ...common, dialect: jobs, authorize: withKey(), workId: jobId, stream: jobStream, resume: resumeJob };
    }, jobs),
    native: withDialect((request: InfernetNativeRequest): Call => {
      const { modelName } = checkRequest(NativeRequest, request, 'the request of infernet.native');
      return {
        ...common,
        model: modelName,
        dialect: native,
        authorize: nativeAuthorize,
        submit: post(chatURL, request, JSON_ANSWER),
        readWorkId: readNativeId,
        stream: chatStream,
        resume: resumeNative,
      };
    }, native),
    attachNative: withDialect((jobId: string): Call => {
      chatStream(jobId); // throws where the id is wrong
      return {
        ...common,
        dialect: native,
        authorize: nativeAuthorize,
        workId: jobId,
        stream: chatStream,
        resume: resumeNative,
      };
    }, native),
    openai: withDialect((request: InfernetRequest): Call => {
      const { model } = checkRequest(JobRequest, request, 'the request of infernet.openai');
      const asked = post(completionsURL, { ...request, stream: true }, SSE);
      const resume = askAgain(completionsURL, request);
      return { ...common, model, dialect: openai, authorize: withKey(), stream: () => asked, resume };
    }, openai),
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
