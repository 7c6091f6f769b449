import type { OutgoingHttpHeaders } from 'node:http';
import { requireAtLeast } from '../internal/require.js';
import type { AnswerEnd, Exchange, ReceivedRequest } from './exchange.js';
import { Inbox } from './inbox.js';
import { listen } from './listen.js';
import { answerRequest, providerOf } from './provider/answerRequest.js';
import { Desk, type RequestPattern } from './provider/desk.js';
import type { ProviderName } from './providerName.js';
import { type Pace, requireAnswer, requirePace, type ScriptedAnswer } from './scriptedAnswer.js';

/** @public */
export interface StartProviderServerOptions {
  /** The port on `127.0.0.1`. @defaultValue 0, a free one */
  readonly port?: number | undefined;
  /** How fast answers go out that have no pace of their own. @defaultValue `'full'` */
  readonly pace?: Pace | undefined;
  /** Answers requests for which nothing was ordered by `next`; `undefined` for the provider's default answer. */
  readonly script?: ((request: ReceivedRequest) => ScriptedAnswer | undefined) | undefined;
  /** `'required'`: a request needs any key but `invalid`, in its provider's header. @defaultValue `'required'` */
  readonly auth?: 'required' | 'none' | undefined;
  /** `'any'` lets pages of every origin read the answers, for work on a front end. @defaultValue `'none'` */
  readonly cors?: 'any' | 'none' | undefined;
  /** The clock of all times in answers and records, in epoch milliseconds. @defaultValue `Date.now` */
  readonly now?: (() => number) | undefined;
}

/** Where each provider's interface begins, as its adapter takes it. @public */
export interface ProviderBaseURLs {
  /** Infernet's documented jobs. */
  readonly infernet: string;
  /** Infernet's native chat (`/api/chat`) and its chat completions (`/v1/chat/completions`). */
  readonly infernetOrigin: string;
  readonly infron: string;
  readonly inferencesh: string;
  readonly gateway: string;
  readonly polargrid: string;
  readonly openai: string;
  /** Without the version, as its adapter takes it. */
  readonly anthropic: string;
  readonly gemini: string;
  readonly ollama: string;
}

/** A request that came, and what became of its answer. @public */
export interface ProviderRequest extends ReceivedRequest {
  /** Absent where the path belongs to none. */
  readonly provider: ProviderName | undefined;
  /** Bytes of the answer's body handed to the network so far. */
  readonly bytesSent: number;
  /** Resolves when the answer is over: `client` when the client left before its end. */
  readonly ended: Promise<AnswerEnd>;
  /** Resolves when the connection is closed. */
  readonly closed: Promise<void>;
}

/** A server that answers as five providers do. @public */
export interface ProviderServer extends AsyncDisposable {
  /** `http://127.0.0.1:PORT`, without a slash at the end. */
  readonly url: string;
  readonly port: number;
  readonly baseURLs: ProviderBaseURLs;
  /** Every request so far, in order of arrival. */
  readonly requests: readonly ProviderRequest[];
  /** How many connections are open now. */
  connections(): number;
  /**
   * Orders an answer, to be given once. Without a pattern it goes to the next request that begins an answer, whichever
   * provider it asks; where such a request creates work that is streamed by another, content and fault go with the work. A
   * pattern with a `path` orders for that very request, of any kind: its fault happens there, and nowhere else.
   * @throws TypeError or RangeError for an answer that cannot be given
   */
  next(answer: ScriptedAnswer, when?: RequestPattern): void;
  /** The first request that this method has not returned yet, waiting for it where none has come. */
  nextRequest(): Promise<ProviderRequest>;
  /** Destroys all sockets and stops all timers; resolves when that is done. May be called twice. */
  close(): Promise<void>;
}

/**
 * Starts a server that answers as the five providers do, and as OpenAI, Anthropic, Gemini and Ollama, frame by frame: for tests over real sockets, and for work on a
 * front end without keys and bills. It invents nothing at random, so the same requests get the same bytes (but for times,
 * see `now`). It listens on `127.0.0.1` only.
 *
 * ```text
 * POST /infernet/api/v1/jobs               GET .../jobs/{id}, .../jobs/{id}/stream, .../models
 * POST /infernet/api/chat                  GET .../chat/stream/{id}, .../chat/{id}/status
 * POST /infernet/v1/chat/completions
 * POST /infron/v1/chat/completions
 * POST /inferencesh/apps/run               GET .../tasks/{id}, /status, /stream    POST .../tasks/{id}/cancel
 * POST /inferencesh/agents/run             GET .../chats/{id}, /status, /stream    POST .../chats/{id}/stop, .../tools/{id}
 * POST /gateway/api/v1/generate/stream, /gateway/api/v1/generate
 * POST /polargrid/v1/chat/completions, /polargrid/v1/completions                   GET .../v1/models, /polargrid/health
 * POST /openai/v1/chat/completions, /openai/v1/responses         POST /anthropic/v1/messages
 * POST /gemini/v1beta/models/{model}:streamGenerateContent       POST /ollama/api/chat
 * ```
 * An answer goes out as fast as its client reads it, or at a pace. When the client leaves it stops at once.
 *
 * @example A connection that is reset in the middle of the third frame
 * ```ts
 * await using server = await startProviderServer();
 * server.next({ pieces: ['one ', 'two ', 'three'], fault: { kind: 'reset', at: { byte: 45 } } });
 * const response = await fetch(`${server.baseURLs.infernet}/jobs`, {
 *   method: 'POST',
 *   headers: { authorization: 'Bearer any' },
 *   body: JSON.stringify({ model: 'm', messages: [], stream: true }),
 * });
 * ```
 * @param options - see {@link StartProviderServerOptions}
 * @returns the server, listening
 * @throws RangeError when called with a port or pace below zero
 * @public
 */
export async function startProviderServer(options: StartProviderServerOptions = {}): Promise<ProviderServer> {
  const {
    port = 0,
    pace = 'full',
    script = () => undefined,
    auth = 'required',
    cors = 'none',
    now = Date.now,
  } = options;
  requireAtLeast(0, { port });
  requirePace(pace);
  const desk = new Desk(pace, now, (request) => {
    const answer = script(request);
    if (answer !== undefined) requireAnswer(answer);
    return answer;
  });
  const requests: Inbox<ProviderRequest> = new Inbox();

  const listener = await listen(
    port,
    async (exchange) => {
      requests.add(recordOf(exchange));
      const headers = { 'x-request-id': desk.id('req_'), ...(cors === 'any' && CORS_HEADERS) };
      if (cors === 'any' && exchange.request.method === 'OPTIONS') {
        const asked = exchange.request.headers['access-control-request-headers'] ?? '*';
        exchange.respond({ status: 204, headers: { ...headers, 'access-control-allow-headers': asked } });
        await exchange.end();
      } else {
        await answerRequest(exchange, desk, auth, headers);
      }
    },
    now,
  );

  const { url } = listener;
  const close = (): Promise<void> => {
    requests.close();
    return listener.close();
  };
  return {
    url,
    port: listener.port,
    baseURLs: {
      infernet: `${url}/infernet/api/v1`,
      infernetOrigin: `${url}/infernet`,
      infron: `${url}/infron/v1`,
      inferencesh: `${url}/inferencesh`,
      gateway: `${url}/gateway/api/v1`,
      polargrid: `${url}/polargrid/v1`,
      openai: `${url}/openai/v1`,
      anthropic: `${url}/anthropic`,
      gemini: `${url}/gemini/v1beta`,
      ollama: `${url}/ollama`,
    },
    requests: requests.all,
    connections: () => listener.connections(),
    next: (answer, when) => {
      requireAnswer(answer);
      desk.order(answer, when);
    },
    nextRequest: () => requests.take(),
    close,
    [Symbol.asyncDispose]: close,
  };
}

function recordOf(exchange: Exchange): ProviderRequest {
  const { request, ended, closed } = exchange;
  return {
    ...request,
    provider: providerOf(request.path),
    get bytesSent() {
      return exchange.bytesSent;
    },
    ended,
    closed,
  };
}

const CORS_HEADERS: OutgoingHttpHeaders = {
  'access-control-allow-origin': '*',
  'access-control-allow-methods': 'GET, POST',
  'access-control-expose-headers': '*',
};
