import type { FetchLike, Transport, TransportFailure } from './io.js';
import { nextTurn, TAKES_PER_TURN } from './nextTurn.js';

/**
 * A transport on `fetch`: the platform's outside Node, or the caller's own.
 * @param failureOf - what its errors say; without it every one is a lost connection, since browsers have no words for the rest
 */
export function fetchTransport(fetch: FetchLike, failureOf?: (error: unknown) => TransportFailure): Transport {
  return (request, handler) => {
    const controller = new AbortController();
    let aborted = false;
    let paused = false;
    let wake: (() => void) | undefined;
    let stopReading: (() => void) | undefined;

    const run = async (): Promise<void> => {
      const { url, method, headers, body } = request;
      handler.onSent();
      const response = await fetch(url.href, {
        method,
        headers,
        // A copy: `fetch` takes no view on a shared buffer.
        body: typeof body === 'object' ? new Uint8Array(body) : (body ?? null),
        // Not 'error': a redirect that is refused must not look like a lost connection, which is worth another try.
        redirect: request.redirect === 'error' ? 'manual' : 'follow',
        signal: controller.signal,
        // Some workers have no cache, and refuse to be told about it.
        ...('cache' in Request.prototype ? { cache: 'no-store' as const } : undefined),
      });
      const reader = response.body?.getReader();
      // A signal may go unheeded by a `fetch` of the caller's own; a body that is cancelled is let go of.
      stopReading = (): void => {
        reader?.cancel().catch(() => undefined); // the reader has left: why it could not be cancelled helps nobody
      };
      if (aborted) {
        stopReading();
        return;
      }
      if (response.type === 'opaqueredirect') {
        handler.onFailure('redirect', undefined);
        return;
      }
      const head = Object.fromEntries(response.headers.entries());
      handler.onHead({ status: response.status, headers: head, url: response.url === '' ? url.href : response.url });
      for (let reads = 1; reader !== undefined; reads += 1) {
        // A body that is in memory is read without any turn of the event loop in between.
        if (reads % TAKES_PER_TURN === 0) await nextTurn();
        while (paused) await new Promise<void>((resolve) => (wake = resolve));
        if (aborted) return;
        const { done, value } = await reader.read();
        if (aborted) return;
        if (done) break;
        // What was being read when the reader filled up waits with it.
        while (paused) await new Promise<void>((resolve) => (wake = resolve));
        if (aborted) return;
        handler.onData(value);
      }
      // `fetch` fails on a body cut inside its framing; one that ends with its connection has no framing to cut.
      handler.onEnd(head['connection'] !== 'close' || 'content-length' in head || 'transfer-encoding' in head);
    };
    run().catch((error: unknown) => {
      if (!aborted) handler.onFailure(failureOf?.(error) ?? 'lost', error);
    });

    return {
      abort: () => {
        if (aborted) return;
        aborted = true;
        paused = false;
        controller.abort();
        stopReading?.();
        wake?.();
      },
      pause: () => {
        paused = true;
      },
      resume: () => {
        paused = false;
        wake?.();
      },
    };
  };
}
