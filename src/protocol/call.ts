import type { Billing, FinishEvent } from '../types.js';
import type { Dialect } from './dialect.js';

/** One HTTP request of a call, without its credentials. One made by a provider is printed, and as JSON, without its body. @public */
export interface CallRequest {
  readonly method: 'GET' | 'POST';
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** JSON text. */
  readonly body?: string | undefined;
  /** Media types that the answer may have, sent as `accept`. `application/json` is refused unless named here. */
  readonly accept: readonly string[];
}

/** What happens to work and bill when its reader leaves before the end. @public */
export interface LeavingPolicy {
  /** Stopped on purpose: the socket is closed and, where there is one, the cancel endpoint is called. */
  readonly stop: Billing;
  /** Left running, or the connection was lost. */
  readonly disconnect: Billing;
}

/** Where the state of work, and in the end its result, can be read. @public */
export interface StoredWork {
  readonly request: (workId: string) => CallRequest;
  /**
   * `'around'`: read before a stream is opened again, which tells whether there is one, and after its end, since it is
   * authoritative. `'instead'`: read where the stream cannot be opened again, or ends without a word.
   */
  readonly use: 'around' | 'instead';
  /** The pause between two readings of work that is not over. */
  readonly everyMs: number;
}

/** How a call goes on after a break: the provider's knowledge, which `retryOnDisconnect` carries out. @public */
export interface ResumePlan {
  /**
   * `'ask'`: the API keeps nothing, so the request is sent again. `'reattach'`: the work goes on without its reader, and its
   * stream is opened again by its id; what it shows then is told by the dialect. `'last-event-id'`: the request is sent again
   * with that header, and the server goes on after the event that it names. Without an id both do as `'ask'`.
   */
  readonly by: 'ask' | 'reattach' | 'last-event-id';
  readonly stored?: StoredWork | undefined;
  /**
   * The request for the rest of an answer, with the text so far sent back as the assistant's turn; `undefined` where this
   * request cannot be continued. Absent where the API has no such thing.
   */
  readonly continueWith?: ((text: string) => CallRequest | undefined) | undefined;
  /**
   * The request that opens the stream of known work again, after the event that `cursor` names where the dialect has told one
   * (`DialectStream.identify`). @defaultValue `stream(workId)`
   */
  readonly reopen?: ((workId: string, cursor: string | undefined) => CallRequest) | undefined;
}

/** What a function gave for a tool call, as it is told to the model. @public */
export interface ToolResult {
  /** The id of the tool call. */
  readonly id: string;
  readonly name: string;
  /** Text, or JSON as text. */
  readonly text: string;
  /** Set where the tool failed; `text` says how. */
  readonly isError?: true | undefined;
}

/**
 * How the results of tool calls are given back: the provider's knowledge, which `runTools` carries out. `'ask'`: the
 * conversation so far is sent again with the assistant's turn, as the dialect's `turn` builds it, and the results behind it.
 * `'post'`: each result is posted by itself, and the same stream goes on.
 * @public
 */
export type ToolPlan =
  | {
      readonly by: 'ask';
      readonly next: (turn: unknown, results: readonly ToolResult[]) => Call;
      /** True where the provider only paused, and goes on when its turn is sent back as it is. @defaultValue never */
      readonly isPaused?: ((finish: FinishEvent) => boolean) | undefined;
    }
  | { readonly by: 'post'; readonly post: (result: ToolResult) => CallRequest };

/**
 * One request, ready to be subscribed to with `fromCall`: cold and repeatable. It is data; nothing is sent by making one.
 * The object itself is its identity.
 *
 * Three ways of asking: `stream` alone (one request answers with the stream); `submit`, whose JSON answer names the work,
 * then `stream(workId)`; `stream` on work that exists (`workId`), with `submit` sent once the stream is open.
 * @public
 */
export interface Call {
  readonly provider: string;
  readonly model?: string | undefined;
  readonly dialect: Dialect;
  /** Credentials, asked for once per attempt and added to each of its requests. */
  readonly authorize: () => Readonly<Record<string, string>> | Promise<Readonly<Record<string, string>>>;
  /** Creates the work; its JSON answer goes to `readWorkId` and to the decoder's `submitted`. */
  readonly submit?: CallRequest | undefined;
  /** Reads the work's id from the answer to `submit`; throws ProtocolError where there is none. */
  readonly readWorkId?: ((answer: unknown) => string) | undefined;
  /** Work that exists already: with `submit`, the stream is opened first and the request sent after. */
  readonly workId?: string | undefined;
  /** The request whose answer is read as the stream. `workId` is empty where the call has no `submit` and no `workId`. */
  readonly stream: (workId: string) => CallRequest;
  /** Ends work that this call created. Absent on attached work and where the API has no such endpoint. */
  readonly cancel?: ((workId: string) => CallRequest) | undefined;
  readonly leaving: LeavingPolicy;
  /** How to go on after a break; without it `retryOnDisconnect` refuses the call. */
  readonly resume?: ResumePlan | undefined;
  /** How the results of its tool calls are given back; without it `runTools` refuses the call. */
  readonly tools?: ToolPlan | undefined;
  /** What to do when the answer is JSON instead of a stream, such as `use gateway.generate() for models that do not stream`. */
  readonly hint?: string | undefined;
}
