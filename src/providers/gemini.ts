import * as z from 'zod/mini';
import type { ToolResult } from '../protocol/call.js';
import type { ErrorReport } from '../protocol/errorBody.js';
import type { StandardSchema } from '../protocol/standardSchema.js';
import { isMadeCallId } from './madeCallId.js';
import { geminiDialect } from './geminiDialect.js';
import type { GeminiPart, GeminiTurn } from './geminiTurn.js';
import { pathSegment } from './pathSegment.js';
import { type CallParts, type Calls, provider } from './provider.js';
import type { APIKey, ProviderOptions } from './support.js';

/** Where Gemini is and how its streams are read. @public */
export interface GeminiOptions extends ProviderOptions {
  /**
   * An API key. Not together with `accessToken`. `null`: none is sent, since a proxy adds it.
   * @defaultValue the environment variable `GEMINI_API_KEY`
   */
  readonly apiKey?: APIKey | null | undefined;
  /** An OAuth access token, sent as `Authorization: Bearer`, as Vertex AI takes it; a function keeps it fresh. */
  readonly accessToken?: APIKey | undefined;
  /**
   * Up to what stands before `models/`; a base without a path gets `/v1beta`. For Vertex AI:
   * `https://{location}-aiplatform.googleapis.com/v1/projects/{project}/locations/{location}/publishers/google`.
   * @defaultValue `https://generativelanguage.googleapis.com/v1beta`
   */
  readonly baseURL?: string | undefined;
  /** Whether asking again can help after a failure told in the stream. @defaultValue as in `geminiDialect` */
  readonly retryable?: ((report: ErrorReport) => boolean) | undefined;
  /** See `geminiDialect`. @defaultValue 67,108,864 */
  readonly maxToolCallChars?: number | undefined;
}

/** One turn of a conversation. @public */
export interface GeminiContent {
  /** `user` or `model`. */
  readonly role?: string | undefined;
  readonly parts: readonly GeminiPart[];
}

/** A request, in the API's own names; members beside these are sent as they are. @public */
export interface GeminiRequest {
  /** With or without `models/`; other resource names as they are, such as `tunedModels/…` or, on Vertex AI, `endpoints/…`. */
  readonly model: string;
  /** The conversation, or the text of its one user turn. */
  readonly contents: string | readonly GeminiContent[];
  /** A content, or its text. */
  readonly systemInstruction?: string | Readonly<Record<string, unknown>> | undefined;
  readonly tools?: readonly unknown[] | undefined;
  readonly toolConfig?: unknown;
  readonly safetySettings?: readonly unknown[] | undefined;
  /** Thoughts are told with `{ thinkingConfig: { includeThoughts: true } }`. */
  readonly generationConfig?: Readonly<Record<string, unknown>> | undefined;
  readonly cachedContent?: string | undefined;
  readonly [key: string]: unknown;
}

/** What `gemini` makes. Google keeps no answers: nothing can be attached to, resumed or cancelled. @public */
export interface Gemini {
  /** An answer, streamed. */
  readonly generateContent: Calls<GeminiRequest, GeminiTurn>;
}

const request: StandardSchema<GeminiRequest> = z.looseObject(
  {
    model: z.string('must be a string').check(z.minLength(1, 'must not be empty')),
    contents: z.union(
      [
        z.string().check(z.minLength(1, 'must not be empty')),
        z.array(z.looseObject({ parts: z.array(z.looseObject({})) })).check(z.minLength(1, 'must not be empty')),
      ],
      'must be a text or a list of contents with parts',
    ),
    systemInstruction: z.optional(z.union([z.string(), z.looseObject({})], 'must be a text or a content')),
    tools: z.optional(z.array(z.unknown(), 'must be a list')),
    safetySettings: z.optional(z.array(z.unknown(), 'must be a list')),
    generationConfig: z.optional(z.looseObject({}, 'must be an object')),
    cachedContent: z.optional(z.string('must be a string')),
  },
  'must be an object',
);

/**
 * Google's Gemini, on the Gemini API and on Vertex AI. The key comes from `apiKey` or `GEMINI_API_KEY`; `GOOGLE_API_KEY`, which
 * Google's own clients read too, is not read.
 *
 * Leaving closes the socket; whether that ends the bill is not documented (`leaving`: `unknown`). The results of tools go back
 * with the model's turn as it came, its thought signatures included, which the newer models insist on.
 *
 * @example
 * ```ts
 * const api = gemini({ apiKey });
 * const contents = 'Why do rivers meander?';
 * fromCall(api.generateContent({ model: 'gemini-2.5-flash', contents })).pipe(toTokens()).subscribe(log);
 * ```
 * @example Vertex AI
 * ```ts
 * const host = 'https://europe-west1-aiplatform.googleapis.com';
 * const baseURL = `${host}/v1/projects/my-project/locations/europe-west1/publishers/google`;
 * const api = gemini({ baseURL, accessToken: () => read('/run/token') });
 * ```
 * @throws TypeError for an option or, from its functions, a request that cannot be right, and where a key is missing
 * @public
 */
export function gemini(options: GeminiOptions = {}): Gemini {
  const { apiKey, accessToken, baseURL, retryable, maxToolCallChars } = options;
  if (apiKey !== undefined && accessToken !== undefined) {
    throw new TypeError('Give gemini either apiKey or accessToken, not both');
  }
  const dialectOf = (candidates: number): Calls<GeminiRequest, GeminiTurn>['dialect'] =>
    geminiDialect({ retryable, maxToolCallChars, candidates });
  const dialect = dialectOf(1);
  const google = provider(
    {
      name: 'gemini',
      baseURL: 'https://generativelanguage.googleapis.com/v1beta',
      ...(accessToken === undefined && { env: 'GEMINI_API_KEY', keyHeader: 'x-goog-api-key' }),
    },
    { ...options, apiKey: accessToken ?? apiKey, baseURL: baseURL === undefined ? undefined : withVersion(baseURL) },
  );

  const generateContent: Gemini['generateContent'] = google.calls({
    name: 'generateContent',
    request,
    dialect,
    call: (asked): CallParts => {
      const { model, contents: given, systemInstruction, ...rest } = asked;
      const contents = typeof given === 'string' ? [{ role: 'user', parts: [{ text: given }] }] : given;
      const count = asked.generationConfig?.['candidateCount'];
      return {
        dialect: typeof count === 'number' && count > 1 ? dialectOf(count) : dialect,
        stream: google.post(`/${modelPath(model)}:streamGenerateContent?alt=sse`, {
          contents,
          ...(systemInstruction !== undefined && {
            systemInstruction:
              typeof systemInstruction === 'string' ? { parts: [{ text: systemInstruction }] } : systemInstruction,
          }),
          ...rest,
        }),
        hint: 'without ?alt=sse the answer is one JSON array: whatever stands between must keep the query of the URL',
        tools: {
          by: 'ask',
          next: (turn, results) =>
            generateContent({
              ...asked,
              // `geminiTurn` builds no other turns.
              contents: [...contents, turn as GeminiTurn, { role: 'user', parts: results.map(responsePart) }],
            }),
        },
      };
    },
  });
  return { generateContent };
}

/** The documented keys: `output` for what a function gave, `error` for how it failed. */
function responsePart({ id, name, text, isError }: ToolResult): GeminiPart {
  const response = isError === true ? { error: text } : { output: text };
  return { functionResponse: { ...(isMadeCallId(id) ? undefined : { id }), name, response } };
}

/** The path of a model: its name, or a resource name as it is. */
function modelPath(model: string): string {
  const isResource = /^(?:models|tunedModels|endpoints|publishers|projects)\//.test(model);
  return isResource
    ? model
        .split('/')
        .map((segment) => pathSegment(segment, 'each part of model'))
        .join('/')
    : `models/${pathSegment(model, 'model')}`;
}

/** What is no URL is refused by `provider`. */
function withVersion(baseURL: string): string {
  if (!URL.canParse(baseURL)) return baseURL;
  const url = new URL(baseURL);
  if (url.pathname === '/') url.pathname = '/v1beta';
  return url.href;
}
