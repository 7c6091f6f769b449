import { type SchedulerLike, tap } from 'rxjs';
import { InterruptedError } from '../errors.js';
import { mediaType } from '../internal/contentType.js';
import { isKeyName } from '../internal/keyedRequest.js';
import { maskSecrets } from '../internal/maskSecrets.js';
import { onAbort } from '../internal/onAbort.js';
import type { ProxyAnswer, ProxyBody } from '../internal/proxyAnswer.js';
import { returnedHeaders } from '../internal/proxyHeaders.js';
import { Reading } from '../internal/reading.js';
import { SentSecrets } from '../internal/sentSecrets.js';
import { timeout } from '../operators/timeout.js';
import { fromHTTP, type FromHTTPOptions } from '../sources/fromHTTP.js';

/** How a provider is asked. */
export interface UpstreamOptions extends Pick<FromHTTPOptions, 'connectTimeoutMs' | 'dispatcher' | 'fetch'> {
  readonly headersTimeoutMs: number;
  readonly bodyTimeoutMs: number;
  readonly scheduler: SchedulerLike;
}

/** Throws TypeError or RangeError for options with which no provider can be asked; nothing is asked. */
export function checkUpstream({ connectTimeoutMs, dispatcher, fetch }: UpstreamOptions): void {
  void fromHTTP('http://localhost', { connectTimeoutMs, dispatcher, fetch });
}

/** One request to a provider, key and all. */
export interface UpstreamRequest {
  readonly url: URL;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Those that give the key. */
  readonly credentials: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array | undefined;
}

/** Chunks that wait for a page before its provider's socket is paused. */
const PAUSE_AT_CHUNKS = 4;

/**
 * Sends a request to a provider and answers as soon as there is a head; what comes behind it is read as the page asks for it.
 * Rejects with the error of a request that gets no good answer. When the page has gone, the request is stopped in that turn.
 * @param onFailure - hears of a body that is cut
 */
export function askUpstream(
  request: UpstreamRequest,
  options: UpstreamOptions,
  gone: AbortSignal,
  onFailure: (error: unknown) => void,
): Promise<ProxyAnswer> {
  const { url, method, headers, credentials, body } = request;
  const { headersTimeoutMs, bodyTimeoutMs, scheduler, ...transport } = options;
  const secrets = new SentSecrets(headers, url);
  return new Promise((resolve, reject) => {
    let isJSON = false;
    let hasEnded = false;
    const chunks = fromHTTP(url, {
      ...transport,
      method,
      headers,
      body,
      accept: ['*/*'],
      redirect: 'error',
      // The clocks below are those of every platform.
      headersTimeoutMs: 0,
      bodyTimeoutMs: 0,
      scheduler,
      onResponse: ({ status, headers: head }) => {
        isJSON = /^application\/(.+\+)?json$/.test(mediaType(head['content-type']));
        const isBodiless = status === 204 || status === 205;
        const returned = returnedHeaders(head, (value) => secrets.withoutKeys(value));
        resolve({ status, headers: returned, body: isBodiless ? undefined : read });
      },
    }).pipe(
      tap({
        complete: () => {
          hasEnded = true;
        },
      }),
      timeout({ headersMs: limit(headersTimeoutMs), wireIdleMs: limit(bodyTimeoutMs), scheduler }),
      maskSecrets(keysOf(credentials, headers, url)),
    );

    const reading = new Reading('proxyHandler', chunks, { pauseAtItems: PAUSE_AT_CHUNKS });
    const next = (): Promise<IteratorResult<Uint8Array, undefined>> =>
      new Promise((give, fail) => {
        reading.read({
          onItem: (value) => {
            give({ done: false, value });
          },
          onEnd: () => {
            give(END);
          },
          onError: fail,
        });
      });
    const stopListening = onAbort(gone, () => {
      reading.leave();
    });
    let first: ReturnType<typeof next> | undefined = next();
    const read: ProxyBody = {
      next: async () => {
        const awaited = first ?? next();
        first = undefined;
        try {
          const step = await awaited;
          if (step.done === true) stopListening();
          return step;
        } catch (error) {
          stopListening();
          // Without framing nothing tells the end from a cut, but a document of JSON tells it itself.
          if (hasEnded && isJSON && error instanceof InterruptedError) return END;
          onFailure(error);
          throw error;
        }
      },
    };
    // Either is heard only where there was no head before it: then the page has gone, or there is an error to tell.
    first.then(() => {
      reject(new Error('The page has gone'));
    }, reject);
  });
}

const END: IteratorReturnResult<undefined> = { done: true, value: undefined };

function limit(ms: number): number | undefined {
  return ms === 0 ? undefined : ms;
}

/** What must not be read in any answer: credentials, and what the provider's own headers and URL have under a key's name. */
function keysOf(
  credentials: Readonly<Record<string, string>>,
  headers: Readonly<Record<string, string>>,
  url: URL,
): readonly string[] {
  const named = [...Object.entries(headers), ...url.searchParams].filter(([name]) => isKeyName(name));
  const values = [...Object.values(credentials), ...named.map(([, value]) => value)];
  // `Bearer KEY`, `a=KEY; b=KEY`.
  return [...new Set(values.flatMap((value) => [value, ...value.split(/\s+/), ...value.split(/[\s;,=]+/)]))];
}
