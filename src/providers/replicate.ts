import * as z from 'zod/mini';
import { ProtocolError } from '../errors.js';
import type { CallRequest, LeavingPolicy, ResumePlan } from '../protocol/call.js';
import { isRecord } from '../protocol/errorBody.js';
import type { StandardSchema } from '../protocol/standardSchema.js';
import { pathSegment, readId } from './pathSegment.js';
import { type CallParts, type Calls, provider } from './provider.js';
import { replicateDialect, type ReplicateDialectOptions } from './replicateDialect.js';
import { absoluteURL, type ProviderOptions } from './support.js';

/** Who asks Replicate. @public */
export interface ReplicateOptions extends ProviderOptions, ReplicateDialectOptions {
  /** The API, its version included. @defaultValue `https://api.replicate.com/v1` */
  readonly baseURL?: string | undefined;
}

/** A prediction; members beside these are sent as they are. @public */
export interface ReplicateRequest {
  /** `owner/name` of an official model. This or `version`. */
  readonly model?: string | undefined;
  /** The version of any other model. */
  readonly version?: string | undefined;
  readonly input: Readonly<Record<string, unknown>>;
  readonly [key: string]: unknown;
}

/** A prediction that exists, as the API tells it. @public */
export interface ReplicatePrediction {
  readonly id: string;
  readonly urls: { readonly stream?: string | undefined };
}

/** What `replicate` makes. @public */
export interface Replicate {
  /** Runs a model and reads its output. Stopping cancels the prediction. */
  readonly run: Calls<ReplicateRequest>;
  /** Reads the output of a prediction that exists; leaving does not cancel it. */
  readonly attach: Calls<ReplicatePrediction>;
}

/** Between two readings of a prediction; chosen. */
const POLL_MS = 2_000;

const Name = z.string('must be a string').check(z.minLength(1, 'must not be empty'));
const request: StandardSchema<ReplicateRequest> = z.looseObject(
  {
    model: z.optional(Name.check(z.regex(/^[^/]+\/[^/]+$/, 'must be owner/name'))),
    version: z.optional(Name),
    input: z.looseObject({}, 'must be an object'),
  },
  'must be an object',
);
const prediction: StandardSchema<ReplicatePrediction> = z.looseObject({
  id: Name,
  urls: z.looseObject({ stream: z.optional(Name) }),
});

/**
 * Replicate: models that run as predictions and tell their output as plain text. The key comes from `apiKey` or
 * `REPLICATE_API_TOKEN`.
 *
 * A prediction is created, then its stream is opened at the URL that the answer tells: nowhere but at the API's own host and at
 * `replicate.com` over `https:`, since the key goes with it. It runs on when its reader is lost, and its stored output tells what
 * was missed; stopping on purpose cancels it. A model that does not stream has no such URL, which is a ProtocolError.
 *
 * @example
 * ```ts
 * const api = replicate({ apiKey });
 * const call = api.run({ model: 'meta/meta-llama-3-8b-instruct', input: { prompt: 'Why do rivers meander?' } });
 * fromCall(call).pipe(toTokens()).subscribe(log);
 * ```
 * @throws TypeError for an option or, from its functions, a request that cannot be right, and where a key is missing
 * @public
 */
export function replicate(options: ReplicateOptions = {}): Replicate {
  const baseURL = options.baseURL ?? 'https://api.replicate.com/v1';
  const api = provider({ name: 'replicate', baseURL, env: 'REPLICATE_API_TOKEN' }, options);
  const dialect = replicateDialect(options);
  const path = (id: string): string => `/predictions/${pathSegment(id, 'the prediction id')}`;
  const created: LeavingPolicy = { stop: 'ended', disconnect: 'continues', ...options.leaving };
  const attached: LeavingPolicy = { stop: 'continues', disconnect: 'continues', ...options.leaving };
  const stream = (work: string): CallRequest => {
    const { url } = readWork(work);
    return { ...api.get('/'), url: checkStreamURL(url, baseURL) };
  };
  const resume: ResumePlan = {
    by: 'reattach',
    stored: {
      request: (work) => api.get(path(readWork(work).id), ['application/json']),
      use: 'around',
      everyMs: POLL_MS,
    },
  };
  return {
    run: api.calls({
      name: 'run',
      request,
      dialect,
      call: ({ model, ...asked }): CallParts => {
        if ((model === undefined) === (asked.version === undefined)) {
          throw new TypeError('the request of replicate.run needs model or version, and not both');
        }
        const [owner = '', name = ''] = model?.split('/') ?? [];
        const place =
          model === undefined
            ? '/predictions'
            : `/models/${pathSegment(owner, 'the owner')}/${pathSegment(name, 'the model')}/predictions`;
        return {
          model: model ?? asked.version,
          submit: api.post(place, { ...asked, stream: true }, ['application/json']),
          readWorkId: (answer) => workOf(answer, baseURL),
          stream,
          cancel: (work) => api.post(`${path(readWork(work).id)}/cancel`, undefined, ['*/*']),
          leaving: created,
          resume,
        };
      },
    }),
    attach: api.calls({
      name: 'attach',
      request: prediction,
      dialect,
      call: (work): CallParts => ({ workId: workOf(work, baseURL), stream, leaving: attached, resume }),
    }),
  };
}

/** A prediction's stream stands at a URL of its own, so the work's id has both. */
function workOf(answer: unknown, baseURL: string): string {
  const { id, urls } = isRecord(answer) ? answer : {};
  const url = isRecord(urls) ? urls['stream'] : undefined;
  const known = readId(id, 'the prediction id');
  if (typeof url !== 'string') {
    throw new ProtocolError(`The prediction ${known} has no stream; does its model support streaming?`);
  }
  checkStreamURL(url, baseURL);
  return JSON.stringify([known, url]);
}

function readWork(work: string): { readonly id: string; readonly url: string } {
  const [id, url] = JSON.parse(work) as readonly [string, string]; // written by `workOf`
  return { id, url };
}

/** The key goes with the request, so it goes nowhere else. */
function checkStreamURL(url: string, baseURL: string): string {
  const base = new URL(absoluteURL(baseURL));
  const told = URL.canParse(url) ? new URL(url) : undefined;
  const isOwn = told?.origin === base.origin;
  const isReplicates = told?.protocol === 'https:' && /(^|\.)replicate\.com$/.test(told.hostname);
  if (told?.username === '' && (isOwn || (isReplicates && isReplicateHost(base)))) return url;
  throw new ProtocolError(
    'The prediction names a stream on a host that is not the API’s own; the key is not sent there',
  );
}

function isReplicateHost({ hostname }: URL): boolean {
  return /(^|\.)replicate\.com$/.test(hostname);
}
