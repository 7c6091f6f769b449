import { AbortError } from '../errors.js';
import { BoundedBody } from '../internal/boundedBody.js';
import { onAbort } from '../internal/onAbort.js';
import { failureAnswer, type ProxyBody } from '../internal/proxyAnswer.js';
import type { ProxyDesk } from './proxyVisit.js';

/** Answers a request of the Fetch API; its body is asked for as the platform reads it. Never rejects. */
export async function serveFetch(request: Request, desk: ProxyDesk): Promise<Response> {
  const left = new AbortController();
  const leave = (): void => {
    left.abort();
  };
  if (request.signal.aborted) leave();
  const stopListening = onAbort(request.signal, leave);
  try {
    const { pathname, search } = new URL(request.url);
    const given = await desk.answer({
      method: request.method,
      target: pathname + search,
      headers: request.headers,
      raw: request,
      gone: left.signal,
      readBody: (maxBytes) => readBody(request, maxBytes),
    });
    if (given instanceof Response) {
      stopListening();
      return given;
    }
    const { status, headers, body } = given;
    if (typeof body === 'object') {
      return new Response(streamOf(body, left, stopListening), { status, headers });
    }
    stopListening();
    return new Response(body ?? null, { status, headers });
  } catch (error) {
    stopListening();
    leave();
    desk.report(error);
    const { status, headers, body } = failureAnswer(error, 'The provider');
    return new Response(typeof body === 'string' ? body : null, { status, headers });
  }
}

function streamOf(body: ProxyBody, left: AbortController, onOver: () => void): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        try {
          const { done, value } = await body.next();
          // Not closed: what was asked for is not whole.
          if (left.signal.aborted) throw new AbortError('The page has left');
          if (done !== true) {
            controller.enqueue(value);
            return;
          }
          onOver();
          controller.close();
        } catch (error) {
          onOver();
          throw error; // which errors the stream
        }
      },
      cancel: () => {
        left.abort();
      },
    },
    { highWaterMark: 0 },
  );
}

async function readBody({ headers, body }: Request, maxBytes: number): Promise<Uint8Array> {
  const collected = new BoundedBody(maxBytes, headers.get('content-length'));
  const reader = body?.getReader();
  while (collected.refusal === undefined) {
    const step = await reader?.read();
    if (step === undefined || step.done) return collected.whole();
    collected.add(step.value);
  }
  reader?.cancel().catch(() => undefined); // nobody reads on: why it could not be cancelled helps nobody
  throw collected.refusal;
}
