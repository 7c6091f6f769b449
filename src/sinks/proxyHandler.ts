import { io } from '#io';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { asyncScheduler, type SchedulerLike } from 'rxjs';
import { MillraceError } from '../errors.js';
import { mediaType } from '../internal/contentType.js';
import { failureAnswer, isRefusedKey, Refusal } from '../internal/proxyAnswer.js';
import { readForwarded } from '../internal/proxyHeaders.js';
import { type ProxyTarget, ProxyTargets } from '../internal/proxyTargets.js';
import { requireDelay, requireInteger, requireOneOf } from '../internal/require.js';
import type { FromHTTPOptions } from '../sources/fromHTTP.js';
import { askUpstream, checkUpstream, type UpstreamOptions } from './askUpstream.js';
import type { ProxyDesk, ProxyVisit } from './proxyVisit.js';
import { serveFetch } from './serveFetch.js';
import { serveNode } from './serveNode.js';

/** A page's request that is on the list, before it is sent. @public */
export interface ProxyRequest {
  /** As `providers` names it. */
  readonly provider: string;
  readonly method: string;
  /** Below the provider's base URL, such as `/chat/completions`. */
  readonly path: string;
  /** The page's own: its cookie, its authorization. They do not go on. */
  readonly headers: Headers;
  /** The request as the server has it, with what a framework has hung on it. */
  readonly raw: IncomingMessage | Request;
  /**
   * The body, parsed: for a rule about models or lengths. What was looked at is what is sent, with what the rule has changed in it: JSON
   * of this value, in which no name comes twice. Some servers, inference.sh's among them, read names in any letter case. Rejects for a body larger than
   * `maxBodyBytes`, or that is no JSON.
   */
  readonly json: () => Promise<unknown>;
}

/** What pages may ask for, and who may. @public */
export interface ProxyHandlerOptions extends Pick<FromHTTPOptions, 'connectTimeoutMs' | 'dispatcher' | 'fetch'> {
  /**
   * By the name that stands in the paths of pages: an adapter such as `openai({ apiKey })`, one of its functions where it asks in
   * several places (`infernet().native`), or what `provider` makes.
   */
  readonly providers: Readonly<Record<string, object>>;
  /**
   * All that pages may ask for, line by line: a method and a path, as in `'POST /openai/chat/completions'`. `{id}` stands for a part of a
   * segment that varies: `'GET /infsh/tasks/{id}/stream'`, `'POST /gemini/models/{model}:streamGenerateContent'`. Nothing else goes on.
   */
  readonly allow: readonly string[];
  /** Where the handler stands, as in `'/api/proxy'`. @defaultValue what the framework leaves of the path: with none of them, the root */
  readonly mountPath?: string | undefined;
  /**
   * Asked for each request that is on the list. `true`: it goes on. A `Response`: that is the answer. All else, and a throw: it does not.
   * @defaultValue everybody who can reach the handler may spend the key's money on what `allow` names
   */
  readonly authorize?: ((request: ProxyRequest) => boolean | Response | Promise<boolean | Response>) | undefined;
  /**
   * Requests that a browser marks as another site's (`sec-fetch-site: cross-site`): such a page cannot read the answer, but its visitor's
   * cookie would let it spend. CORS headers are not set either way. @defaultValue `'refuse'`
   */
  readonly crossSite?: 'refuse' | 'allow' | undefined;
  /**
   * Headers of the page that go on besides `accept`, `content-type`, `last-event-id`, `idempotency-key` and what inference.sh's client
   * says of itself. What the provider's adapter sets stands over them. @defaultValue none
   */
  readonly forwardHeaders?: readonly string[] | undefined;
  /** Bytes of a request's body, which is held until it is sent; more are refused with 413. A whole number. @defaultValue 10,485,760 (chosen) */
  readonly maxBodyBytes?: number | undefined;
  /** Limit from the request to the provider's headers; 0 for none. @defaultValue 300,000 (as in `fromHTTP`) */
  readonly headersTimeoutMs?: number | undefined;
  /** Limit of silence inside the provider's body, the page's own slowness left out; 0 for none. @defaultValue 300,000 (as in `fromHTTP`) */
  readonly bodyTimeoutMs?: number | undefined;
  /**
   * Hears of every request that failed for a reason beyond the page, while it waited or in the middle of its answer. Without keys and prompts.
   * @defaultValue a process warning where the provider refuses the key, or a callback throws
   */
  readonly onError?: ((error: unknown, request: ProxyRequest | undefined) => void) | undefined;
  /** The clock. @defaultValue `asyncScheduler` */
  readonly scheduler?: SchedulerLike | undefined;
}

/** What `proxyHandler` makes: one handler, two doors. Both can be taken off the object. @public */
export interface ProxyHandler {
  /** For `node:http`, Express and the raw objects of Fastify. Resolves when the answer is out or the page has left; never rejects. */
  readonly node: (request: IncomingMessage, response: ServerResponse) => Promise<void>;
  /** For the Fetch API: Hono, Next.js, Bun, Deno, workers. Resolves at the provider's headers; never rejects. */
  readonly fetch: (request: Request) => Promise<Response>;
}

/**
 * Lets pages call a provider through their own server, which adds the key: streams pass as they come, byte for byte, and the page's
 * own adapter decodes them.
 *
 * ```text
 * page       POST /api/proxy/openai/chat/completions     no key
 * handler    on the list? who asks? then                 POST https://api.openai.com/v1/chat/completions, with the key
 * provider   ----h--b--b-b---|
 * page       ----h--b--b-b---|                           h = status and headers, b = bytes
 * ```
 * Sent: what `allow` names, to the provider's own origin, and nothing else; a path that could be read in two ways is not on any
 * list. Of the page's headers a few go on (`forwardHeaders`), of its query everything but what is named like a key. inference.sh's
 * own client is understood too: its `proxyUrl` is where the handler stands, or its provider's name below it.
 *
 * Answered: the provider's status, its content type, its request id and `retry-after`, and its body as it comes. No redirect is
 * followed, no cookie and no CORS header passed on, and the server's key is written over with stars wherever a provider repeats it.
 * Errors are JSON, `{ error: { code, message, type: 'proxy_error' } }`: 403 `not_allowed` or `cross_site`, 401 `unauthorized`, 413
 * `body_too_large`, 415 `coded_body`, 400 `invalid_json` (where `authorize` looks), 502 `upstream_unreachable`, `upstream_protocol`, `upstream_redirect` or `upstream_refused_key`
 * (the provider's 401 and 402: to a page they would say that its own user must log in, or pay), 504 `upstream_timeout`, 503 `shutting_down`, 500
 * `internal`. Other refusals of the provider pass with their status and their JSON. An answer that is cut is cut for the page too.
 *
 * A page that leaves stops its request at once. A slow one pauses the provider's socket. Held are one request's body and a few
 * chunks of its answer.
 *
 * @example A server, and the page's side of it
 * ```ts
 * import { createServer } from 'node:http';
 * const proxy = proxyHandler({
 *   providers: { openai: openai({ apiKey }) },
 *   allow: ['POST /openai/chat/completions'],
 *   mountPath: '/api/proxy',
 *   authorize: ({ headers }) => headers.get('cookie') !== null,
 * });
 * createServer((request, response) => void proxy.node(request, response)).listen(3000);
 *
 * // In the page: no key.
 * const remote = openai({ baseURL: '/api/proxy/openai' });
 * fromCall(remote.chat({ model, messages })).pipe(toTokens()).subscribe(log);
 * ```
 * @param options - see {@link ProxyHandlerOptions}
 * @returns the handler; nothing is sent before it is asked
 * @throws TypeError for a line, a name or a path that cannot be right, and where a provider has no key; RangeError for a limit out
 * of its range
 * @public
 */
export function proxyHandler(options: ProxyHandlerOptions): ProxyHandler {
  const desk = openDesk(options);
  const keepsMount = options.mountPath !== undefined;
  return {
    node: (request, response) => serveNode(request, response, desk, keepsMount),
    fetch: (request) => serveFetch(request, desk),
  };
}

function openDesk(options: ProxyHandlerOptions): ProxyDesk {
  const { providers, allow, mountPath = '/', authorize, crossSite = 'refuse', onError = warnOf } = options;
  const { maxBodyBytes = 10_485_760, headersTimeoutMs = 300_000, bodyTimeoutMs = 300_000 } = options;
  const { connectTimeoutMs, dispatcher, fetch, scheduler = asyncScheduler } = options;
  requireInteger(0, { maxBodyBytes });
  requireDelay(0, { headersTimeoutMs, bodyTimeoutMs });
  requireOneOf('crossSite', crossSite, ['refuse', 'allow']);
  const targets = new ProxyTargets(providers, allow, mountPath);
  const forwarded = readForwarded(options.forwardHeaders ?? []);
  const upstream: UpstreamOptions = {
    connectTimeoutMs,
    dispatcher,
    fetch,
    headersTimeoutMs,
    bodyTimeoutMs,
    scheduler,
  };
  checkUpstream(upstream);
  const report = (error: unknown, request?: ProxyRequest): void => {
    try {
      onError(error, request);
    } catch (thrown) {
      warnOf(thrown);
    }
  };

  const answer: ProxyDesk['answer'] = async (visit) => {
    const { method, headers: received, gone } = visit;
    let request: ProxyRequest | undefined;
    const fail = (error: unknown): void => {
      if (!gone.aborted && !(error instanceof Refusal)) report(error, request);
    };
    try {
      if (crossSite === 'refuse' && received.get('sec-fetch-site') === 'cross-site') {
        throw new Refusal(403, 'cross_site', 'Pages of other sites may not ask here');
      }
      const target = findTarget(targets, visit);
      const body = new SentBody(visit, maxBodyBytes);
      request = requestOf(visit, target, body);
      const allowed: unknown = authorize === undefined || (await authorize(request)); // a callback's may be anything
      if (allowed instanceof Response) return allowed;
      if (allowed !== true) throw new Refusal(401, 'unauthorized', 'This request is not authorized');
      const sent = await body.sent();
      const credentials = await target.provider.authorize();
      gone.throwIfAborted(); // while others decided
      const headers = { ...forwardedOf(visit, forwarded), ...credentials, ...target.provider.headers };
      return await askUpstream({ url: target.url, method, headers, credentials, body: sent }, upstream, gone, fail);
    } catch (error) {
      fail(error);
      return failureAnswer(error, request?.provider ?? 'The provider');
    }
  };
  return { answer, report };
}

function findTarget(targets: ProxyTargets, { method, target, headers }: ProxyVisit): ProxyTarget {
  const found = targets.find({ method, target, told: headers.get('x-inf-target-url') });
  if (found !== undefined) return found;
  throw new Refusal(403, 'not_allowed', 'This method and path are not on the list of what may be asked for here');
}

function requestOf(
  { method, headers, raw }: ProxyVisit,
  { provider, path }: ProxyTarget,
  body: SentBody,
): ProxyRequest {
  return { provider: provider.name, method, path, headers, raw, json: () => body.json() };
}

/** The body of a page's request, read once, whoever asks for it first. */
class SentBody {
  readonly #visit: ProxyVisit;
  readonly #maxBytes: number;
  #bytes: Promise<Uint8Array> | undefined;
  #parsed: Promise<unknown> | undefined;

  constructor(visit: ProxyVisit, maxBytes: number) {
    this.#visit = visit;
    this.#maxBytes = maxBytes;
  }

  json(): Promise<unknown> {
    if (this.#parsed === undefined) {
      this.#parsed = this.#read().then(parse);
      this.#parsed.catch(() => undefined); // a rule may decide before: then nobody needs to know
    }
    return this.#parsed;
  }

  /** As it came, unless it was looked at: of a name that comes twice servers do not all read the same value. */
  async sent(): Promise<string | Uint8Array | undefined> {
    if (this.#parsed !== undefined) return JSON.stringify(await this.#parsed);
    const bytes = await this.#read();
    if (bytes.length === 0) return undefined;
    if (mediaType(this.#visit.headers.get('content-type') ?? '') !== 'application/json') return bytes;
    try {
      // JSON goes as text: so errors know which words are the prompt's, and leave them out.
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      return bytes; // the provider says what is wrong with it
    }
  }

  /** One in a coding is refused: it could not be looked at, and a small one may become a large one. */
  #read(): Promise<Uint8Array> {
    const { method, headers, readBody } = this.#visit;
    if (method === 'GET') return Promise.resolve(new Uint8Array());
    const coding = headers.get('content-encoding') ?? 'identity';
    if (coding === 'identity') return (this.#bytes ??= readBody(this.#maxBytes));
    return Promise.reject(new Refusal(415, 'coded_body', 'The body of the request must not be compressed'));
  }
}

function forwardedOf({ headers }: ProxyVisit, names: readonly string[]): Readonly<Record<string, string>> {
  const going: Record<string, string> = {};
  for (const name of names) {
    const value = headers.get(name);
    if (value !== null) going[name] = value;
  }
  return going;
}

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    throw new Refusal(400, 'invalid_json', 'The body of the request is not JSON');
  }
}

/** Where nobody listens: what only the server's keeper can mend. A callback's own words may hold anything, so its error is named alone. */
function warnOf(error: unknown, request?: ProxyRequest): void {
  if (isRefusedKey(error))
    io.warn(`proxyHandler: ${request?.provider ?? 'the provider'} refused the key of this server`);
  if (error instanceof MillraceError) return;
  const name = error instanceof Error ? error.name : typeof error;
  io.warn(`proxyHandler failed with ${name}; give it onError to see why`);
}
