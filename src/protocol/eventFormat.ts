import type { Receipt, StreamEvent } from '../types.js';

/** A format that somebody else's front end reads. @public */
export type ResponseFormat = 'millrace' | 'openai' | 'ai-sdk' | 'text';

/** What is sent beside the answer itself. @public */
export interface EventSelection {
  /** Frames of the provider that have no event of their own. They may hold what a reader must not see. @defaultValue `false` */
  readonly raw?: boolean | undefined;
  /** A task's log lines. @defaultValue `false` */
  readonly log?: boolean | undefined;
  /** What was spent, in usage and in receipts. @defaultValue `false` */
  readonly cost?: boolean | undefined;
}

/** What an encoder of one response needs to know. */
export interface EncoderOptions {
  readonly events: EventSelection;
  /** The reader's major version of the Vercel AI SDK; only `'ai-sdk'` asks. */
  readonly aiSDKVersion: 6 | 7;
  /** @defaultValue `'unknown'` */
  readonly model?: string | undefined;
  /** The `id` of the OpenAI format's chunks. */
  readonly id: string;
  /**
   * The id of the AI SDK's message, where the program keeps messages by it.
   * @defaultValue the page makes one, or goes on with its last message: after a tool that the page ran, another id would make it two
   */
  readonly messageId?: string | undefined;
  /** In seconds since 1970. */
  readonly createdAt: number;
}

/** A failure in the words that the reader may see: never a key, a prompt or an upstream's body. */
export interface ToldFailure {
  /** The `code` of the error (`ERR_PROVIDER`, `ERR_STREAM_TIMEOUT` ...); `ERR_INTERRUPTED` says that the upstream was cut. */
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
}

/** How a stream ended well. `stopped`: on purpose, in the middle. */
export interface ToldEnding {
  readonly outcome: 'complete' | 'stopped';
  readonly receipt?: Receipt | undefined;
}

/**
 * How a stream of events is told to somebody else's front end: one encoder for each response, pure, in the order `open`, any
 * number of `encode` and `heartbeat`, then `close` or `fail` as the last. What it gives is written as it is, in this order.
 */
export interface EventEncoder {
  /** What the response's head says beside its status; the names are in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /**
   * True where the format has no place for a failure: `fail` gives `''`, and the sink must cut the connection uncleanly (destroy the
   * socket, error the body), or half an answer looks whole. So it is for an answer that was stopped on purpose: `close` gives `''` too.
   */
  readonly failsByCutting: boolean;
  /** What is sent first, with the head; `''` where nothing is. */
  open(): string;
  /**
   * The event as it goes out; `''` where the format has nothing for it, or it was not asked for. Text alone is text of the first output.
   *
   * @throws RestartNotTold for a restart that the format cannot tell: then the sink sends `fail`
   * @throws SinkError for a value that JSON has no form for
   */
  encode(event: StreamEvent | string): string;
  /** The proven end, or the end on purpose. */
  close(ending: ToldEnding): string;
  /** The failure in band. */
  fail(failure: ToldFailure): string;
  /** A comment for the sink's own heartbeat; `''` where the format has none. Line ends in it become spaces. */
  heartbeat(comment: string): string;
}

/** The answer began anew after text of it was sent, and the format cannot take text back. */
export class RestartNotTold extends Error {
  override readonly name = 'RestartNotTold';

  constructor() {
    super('The answer began anew after text of it was sent, which this format cannot take back');
  }
}
