import type { IncomingMessage } from 'node:http';
import type { ProxyAnswer } from '../internal/proxyAnswer.js';

/** A page's request, whoever serves it. */
export interface ProxyVisit {
  readonly method: string;
  /** Path and query, as they came. */
  readonly target: string;
  readonly headers: Headers;
  readonly raw: IncomingMessage | Request;
  /** Aborted when the page has left. */
  readonly gone: AbortSignal;
  /** Reads the body, once. Rejects with a Refusal where it is larger. */
  readonly readBody: (maxBytes: number) => Promise<Uint8Array>;
}

/** Whoever answers visits. */
export interface ProxyDesk {
  /** Never rejects. */
  readonly answer: (visit: ProxyVisit) => Promise<ProxyAnswer | Response>;
  /** Hears of an answer that cannot be given. Never throws. */
  readonly report: (error: unknown) => void;
}
