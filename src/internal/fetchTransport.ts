import type { FetchLike, Transport } from './io.js';

/** A transport on `fetch`: the platform's outside Node, or the caller's own. */
export function fetchTransport(fetch: FetchLike): Transport {
  return (request, handler) => {
    const controller = new AbortController();
    let aborted = false;
    let paused = false;
    let wake: (() => void) | undefined;

    const run = async (): Promise<void> => {
      const { url, method, headers, body, redirect } = request;
      handler.onSent();
      const response = await fetch(url.href, {
        method,
        headers,
        // A copy: `fetch` takes no view on a shared buffer.
        body: typeof body === 'object' ? new Uint8Array(body) : (body ?? null),
        redirect,
        signal: controller.signal,
        credentials: 'same-origin',
        cache: 'no-store',
      });
      if (aborted) return;
      const head = Object.fromEntries(response.headers.entries());
      handler.onHead({ status: response.status, headers: head, url: response.url === '' ? url.href : response.url });
      const reader = response.body?.getReader();
      while (reader !== undefined) {
        if (paused) await new Promise<void>((resolve) => (wake = resolve));
        if (aborted) return;
        const { done, value } = await reader.read();
        if (aborted) return;
        if (done) break;
        handler.onData(value);
      }
      // `fetch` fails on a body cut inside its framing; one that ends with its connection has no framing to cut.
      handler.onEnd(head['connection'] !== 'close' || 'content-length' in head || 'transfer-encoding' in head);
    };
    run().catch((error: unknown) => {
      if (!aborted) handler.onFailure('lost', error);
    });

    return {
      abort: () => {
        aborted = true;
        controller.abort();
        wake?.();
      },
      pause: () => {
        paused = true;
      },
      resume: () => {
        paused = false;
        wake?.();
        wake = undefined;
      },
    };
  };
}
