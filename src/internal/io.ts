import type { MillraceError } from '../errors.js';
import type { OpenJobJournal } from '../protocol/jobJournal.js';
import type { Telling } from './diagnostics.js';
import type { OpenTerminal } from './terminalView.js';

/**
 * What the outside world looks like to the rest: `io.node.ts` has it from undici and `node:`, `io.web.ts` from the platform.
 * The package's `imports` choose, so that a page's bundle holds neither undici nor a `node:` import.
 */

/** One HTTP request, without redirects: those are decided above. */
export interface TransportRequest {
  readonly url: URL;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array | undefined;
  readonly connectTimeoutMs: number;
  readonly headersTimeoutMs: number;
  readonly bodyTimeoutMs: number;
  /** Bytes of an answer's headers; the platform's own bound where undefined. */
  readonly maxHeaderBytes: number | undefined;
  readonly maxDecompressionRatio: number;
  /** An undici Dispatcher of the caller's own. */
  readonly dispatcher: object | undefined;
  /** What `fetch` is told; where redirects are visible they are handled above instead. */
  readonly redirect: 'follow' | 'error';
}

/** Status and headers of an answer; header names in lower case. */
export interface ResponseHead {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Where the answer came from, after redirects that the transport followed itself. */
  readonly url: string;
}

/** Why there is no (more) answer. */
export type TransportFailure =
  /** A redirect that must not be followed, and that the platform hides. */
  | 'redirect'
  /** No connection, or it was lost. */
  | 'lost'
  /** `headersTimeoutMs` or `bodyTimeoutMs` ran out. */
  | 'headers-timeout'
  | 'body-timeout'
  /** The far side does not speak HTTP as it should, or sent a coding that cannot be undone. */
  | 'protocol'
  /** An answer has passed a bound of the transport; the cause is the error. */
  | 'limit'
  /** The request itself was refused before it was sent: a forbidden header, an unusable URL. */
  | 'invalid';

/** Hears of a request and its answer, in order: sent, head, data, then one of end and failure. */
export interface TransportHandler {
  /** There is a connection, and the request goes out on it. */
  onSent(): void;
  onHead(head: ResponseHead): void;
  onData(chunk: Uint8Array): void;
  /** @param intact - the framing itself says that the body is whole; a body that ends with its connection is not */
  onEnd(intact: boolean): void;
  onFailure(kind: TransportFailure, cause: unknown): void;
}

/** What can be done to a request under way. Nothing is heard after `abort`. */
export interface TransportControl {
  abort(): void;
  pause(): void;
  resume(): void;
}

/** Sends a request. */
export type Transport = (request: TransportRequest, handler: TransportHandler) => TransportControl;

/** What was under way when a transport failed. */
export interface FailedRequest {
  readonly url: URL;
  readonly beforeHeaders: boolean;
  readonly headersTimeoutMs: number;
  readonly bodyTimeoutMs: number;
}

/** What is sent after a redirect. */
export interface NextRequest {
  readonly url: URL;
  readonly method: string;
  readonly body: string | Uint8Array | undefined;
  /** The caller's own. */
  readonly headers: Readonly<Record<string, string>>;
}

/** A request whose answer may be a redirect. */
export interface AskedAgain extends NextRequest {
  readonly followed: number;
  readonly maxRedirects: number;
  readonly redirect: 'follow' | 'error';
}

/** The part of `fetch` that is used. */
export type FetchLike = (url: string, init: RequestInit) => Promise<Response>;

/** A file being written. */
export interface WritableFile {
  /** Writes all of it, or fails. */
  write(bytes: Uint8Array): Promise<void>;
  /** Cuts the file to this length; the next write goes there. */
  truncate(bytes: number): Promise<void>;
  sync(): Promise<void>;
  close(): Promise<void>;
  /** Whether it is this very file that has this name. */
  isAt(path: string): boolean;
}

/** A file's place inside a folder that it must not leave. */
export interface Enclosure {
  /** The real path of its folder, links resolved, and its name. */
  readonly path: string;
  /** Whether the place is what it was: no folder on its way is gone, or a link now. */
  isInside(): boolean;
}

/**
 * Files, where there are any. Names are looked at, made and moved in one go, so that a sink has its file in the turn in which it is
 * subscribed to: a source that is shared must not run ahead of it. Data waits for the disk.
 */
export interface Files {
  /** The machine's name: process ids mean nothing on another. */
  readonly hostName: string;
  /** The absolute form of a path: what two writers of one file agree on. A relative one is taken from `folder`. */
  resolve(path: string, folder?: string): string;
  /** Whether an absolute path is below a folder, by its text alone. */
  isBelow(folder: string, path: string): boolean;
  /** The real place of a file in a folder; throws where a link leads out of it. Makes missing folders where told. */
  enclose(folder: string, path: string, makesParents: boolean): Enclosure;
  /** Throws for what is no ordinary file: a folder, a device. */
  exists(path: string): boolean;
  /** Bytes of an ordinary file; undefined where there is none. */
  sizeOf(path: string): number | undefined;
  makeParents(path: string): void;
  /** Creates a file that must not exist; `undefined` when it does. */
  create(path: string): WritableFile | undefined;
  /** Writes a small new file in one go; false when it exists. */
  createWith(path: string, text: string): boolean;
  read(path: string): string | undefined;
  remove(path: string): void;
  /** Moves over whatever is there, atomically. */
  replace(from: string, to: string): void;
  /** Moves to a name that must be free, atomically where the file system can; false when it is taken. */
  publish(from: string, to: string): boolean;
  /** Makes the names in a file's folder durable. */
  syncFolder(path: string): Promise<void>;
  readonly processId: number;
  isRunning(processId: number): boolean;
  /** When a process was started, in the system's own words: another process with its number has another. Undefined where it is not told. */
  startOf(processId: number): string | undefined;
  /** Removes what a killed process left of `createWith` in a folder. */
  removeDrafts(folder: string): void;
}

/** Where a journal is kept, and how. */
export interface JournalSettings {
  /** Absolute; made where it is not there. */
  readonly folder: string;
  readonly fsync: boolean;
  readonly warn: (message: string) => void;
}

/** A place for text that a person or another program reads. */
export interface TextOutput {
  readonly isTTY?: boolean | undefined;
  write(text: string, written: (error?: Error | null) => void): boolean;
  on(event: 'drain' | 'close', listener: () => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  off(event: 'drain' | 'close', listener: () => void): unknown;
  off(event: 'error', listener: (error: Error) => void): unknown;
}

/** A place for text that may be a terminal: its size, and when that changes. @public */
export interface TerminalOutput extends TextOutput {
  readonly columns?: number | undefined;
  readonly rows?: number | undefined;
  on(event: 'drain' | 'close' | 'resize', listener: () => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  off(event: 'drain' | 'close' | 'resize', listener: () => void): unknown;
  off(event: 'error', listener: (error: Error) => void): unknown;
}

/** What a platform offers. */
export interface IO {
  readonly transport: Transport;
  /** Makes a transport of a `fetch` of the caller's. */
  readonly transportOn: (fetch: FetchLike) => Transport;
  /** The error for a failure that only this platform's transports tell; absent, or `undefined`, where there is no more to say. */
  readonly explainFailure:
    ((kind: TransportFailure, cause: unknown, request: FailedRequest) => MillraceError | undefined) | undefined;
  /** `accept-encoding` for the codings that `transport` undoes; absent where the platform sets its own. */
  readonly acceptEncoding: string | undefined;
  /** True where `transport` shows redirects, so that they are decided by us. */
  readonly seesRedirects: boolean;
  /** What becomes of an answer that may be a redirect; absent where `fetch` has followed or refused it already. */
  readonly redirected:
    ((head: ResponseHead, request: AskedAgain) => NextRequest | MillraceError | undefined) | undefined;
  readonly files: Files | undefined;
  readonly openJournal: ((settings: JournalSettings) => Promise<OpenJobJournal>) | undefined;
  readonly stdout: (() => TerminalOutput) | undefined;
  /** Shows streams on a terminal, or as lines. */
  readonly terminal: OpenTerminal | undefined;
  /** Node's own class. */
  readonly Readable: typeof import('node:stream').Readable | undefined;
  /** Absent where nobody can listen. */
  readonly telling: Telling | undefined;
  readonly warn: (message: string) => void;
}
