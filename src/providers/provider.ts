import type { Call, CallRequest, LeavingPolicy } from '../protocol/call.js';
import type { Dialect } from '../protocol/dialect.js';
import type { StandardSchema } from '../protocol/standardSchema.js';
import { type Connection, withConnection } from '../internal/connection.js';
import { printedAs } from '../internal/printedAs.js';
import { warnOfKeyInPage } from '../internal/warnOfKeyInPage.js';
import { discreetRequest } from './discreetRequest.js';
import { authorizer, checkRequest, isRelative, joinURL, type ProviderOptions } from './support.js';

/** What an API is, whoever asks it. @public */
export interface ProviderDefinition {
  /** Stands in receipts, messages and errors. */
  readonly name: string;
  /** Where the API is, unless the caller says otherwise; a path and a query in it are kept. */
  readonly baseURL: string;
  /** The environment variable that holds the key where the caller gives none. @defaultValue there is none */
  readonly env?: string | undefined;
  /** The header that takes the key as it is. @defaultValue `Authorization: Bearer <key>` */
  readonly keyHeader?: string | undefined;
  /** `'optional'` for servers that need no key, such as local ones. @defaultValue `'required'` */
  readonly key?: 'required' | 'optional' | undefined;
  /** Sent with every request; the caller's headers stand over them. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** What becomes of work and bill when a reader leaves, unless the caller says otherwise. @defaultValue `unknown` */
  readonly leaving?: LeavingPolicy | undefined;
}

/** What a call is besides what its provider knows of all of them; see {@link Call}. @public */
export interface CallParts extends Partial<Omit<Call, 'stream' | 'provider'>> {
  /** The request whose answer is the stream, or what makes it from the work's id. */
  readonly stream: CallRequest | ((workId: string) => CallRequest);
}

/** One way to ask an API. @public */
export interface CallDefinition<Request, Turn> {
  /** The function's name, for messages: `the request of acme.chat`. */
  readonly name: string;
  /** What a request must be; loose, so that members unknown today are sent. Any Standard Schema. */
  readonly request: StandardSchema<Request>;
  readonly dialect: Dialect<Turn>;
  /** Makes a call of a request that fits. Its `model` is the request's, and its resume plan to ask again, unless given here. */
  readonly call: (request: Request) => CallParts;
}

/** A function that makes calls, with the dialect in which they are answered. @public */
export type Calls<Request, Turn = unknown> = ((request: Request) => Call) & { readonly dialect: Dialect<Turn> };

/** What `provider` makes: the parts of which an adapter is built. @public */
export interface Provider {
  /** A GET of a path below the base URL. */
  readonly get: (path: string, accept?: readonly string[]) => CallRequest;
  /** A POST with a JSON body to a path below the base URL; without a body where `body` is undefined. */
  readonly post: (path: string, body?: unknown, accept?: readonly string[]) => CallRequest;
  /** Makes the function that makes calls. */
  readonly calls: <Request, Turn>(definition: CallDefinition<Request, Turn>) => Calls<Request, Turn>;
  /** Asks for the credentials of one attempt. Reading this throws TypeError where a key is missing. */
  readonly authorize: Call['authorize'];
}

/**
 * Describes an API once: where it is and how it is asked. What is common to all is done here: the key is looked up, checked and
 * sent, URLs are joined, requests are checked where they are made, and the calls are cold, with a plan for lost connections.
 * Together with `dialect` it is all that the adapters of this package are made of.
 *
 * @example An API of one's own
 * ```ts
 * const mine = dialect({
 *   name: 'acme',
 *   frame: z.looseObject({ piece: z.optional(z.string()), over: z.optional(z.boolean()) }),
 *   decode: (frame, stream) => {
 *     if (frame.piece) stream.emit({ type: 'text', text: frame.piece, index: 0, name: 'output' });
 *     if (frame.over) { stream.prove('stop'); stream.done(); }
 *   },
 * });
 * const acme = provider({ name: 'acme', baseURL: 'https://api.acme.example/v1', env: 'ACME_API_KEY' }, { apiKey });
 * const chat = acme.calls({
 *   name: 'chat',
 *   request: z.looseObject({ model: z.string(), prompt: z.string() }),
 *   dialect: mine,
 *   call: (request) => ({ stream: acme.post('/chat', { ...request, stream: true }) }),
 * });
 * fromCall(chat({ model: 'm', prompt: 'Hello' })).pipe(toTokens()).subscribe(log);
 * ```
 * @param definition - what the API is
 * @param options - what the caller of the adapter says: key, base URL, headers, leaving
 * @throws TypeError for a base URL or a key that cannot be right and, from the functions that `calls` makes, for a request that does not fit
 * its schema and where a key is missing
 * @public
 */
export function provider(definition: ProviderDefinition, options: ProviderOptions = {}): Provider {
  const { name, leaving } = definition;
  const baseURL = options.baseURL ?? definition.baseURL;
  const headers = mergeHeaders(definition.headers, options.headers);
  const policy: LeavingPolicy = { ...(leaving ?? { stop: 'unknown', disconnect: 'unknown' }), ...options.leaving };
  joinURL(baseURL, ''); // throws where the base is wrong
  const { apiKey = isRelative(baseURL) ? null : undefined, dangerouslyAllowBrowser = false } = options;
  let known: Call['authorize'] | undefined;
  // One that is missing is no matter before a call is made: whoever only wants a dialect needs no key.
  const withKey = (): Call['authorize'] => (known ??= authorizer(definition, apiKey));
  if (apiKey !== undefined) withKey(); // throws where the key is wrong
  if (apiKey !== undefined && apiKey !== null && !dangerouslyAllowBrowser) warnOfKeyInPage(name);
  const connection: Connection = { provider: name, baseURL, headers: headers ?? {}, authorize: withKey };

  const api: Provider = {
    get: (path, accept = STREAM) => discreetRequest({ method: 'GET', url: joinURL(baseURL, path), headers, accept }),
    post: (path, body, accept = STREAM) =>
      discreetRequest({
        method: 'POST',
        url: joinURL(baseURL, path),
        headers,
        ...(body === undefined ? undefined : { body: JSON.stringify(body) }),
        accept,
      }),
    calls: <Request, Turn>({ name: function_, request, dialect, call }: CallDefinition<Request, Turn>) => {
      const calls = (asked: Request): Call => {
        const checked = checkRequest(request, asked, `the request of ${name}.${function_}`);
        const { stream, ...parts } = call(checked);
        const made: Call = {
          provider: name,
          model: modelOf(checked),
          dialect,
          authorize: parts.authorize ?? withKey(),
          leaving: policy,
          resume: { by: 'ask' },
          ...parts,
          stream: (workId) => discreetRequest(typeof stream === 'function' ? stream(workId) : stream),
        };
        return printedAs(made, () => ({ provider: made.provider, model: made.model }));
      };
      return withConnection(Object.assign(calls, { dialect }), connection);
    },
    get authorize() {
      return withKey();
    },
  };
  return withConnection(api, connection);
}

/** Names in lower case, so that a caller's header stands over ours, and over the key's, however it is written. */
function mergeHeaders(...all: readonly ProviderDefinition['headers'][]): ProviderDefinition['headers'] {
  const merged = all.flatMap((headers) =>
    Object.entries(headers ?? {}).map(([name, value]): [string, string] => [name.toLowerCase(), value]),
  );
  return merged.length === 0 ? undefined : Object.fromEntries(merged);
}

/** What a stream is asked for as, where its adapter does not say. */
const STREAM: readonly string[] = ['text/event-stream'];

function modelOf(request: unknown): string | undefined {
  const { model } = (request ?? {}) as { readonly model?: unknown };
  return typeof model === 'string' ? model : undefined;
}
