/**
 * A stream of HTTP/2 that is reset with CANCEL, as proxies do when what is behind them is lost, ends in Node's `http2`, and so in
 * undici 7 and 8, like one that came to its end. Node's stream itself knows better: it was closed before its last `push`, and
 * has the code. A reset with NO_ERROR leaves no trace; it belongs behind a whole answer (RFC 9113, 8.1).
 *
 * undici publishes each request as it writes it, with its socket, where the session is found by its shape. Where it is not, a
 * reset goes unseen, as without this file.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';

const WRITING = 'undici:client:sendHeaders';
const NO_ERROR = 0;

/** What is needed of Node's `ClientHttp2Session` and `ClientHttp2Stream`. */
interface Session {
  request: (...args: unknown[]) => Stream;
}
interface Stream {
  readonly closed: boolean;
  readonly rstCode?: number | undefined;
  push: (chunk: unknown, encoding?: string) => boolean;
}

/** To be called while undici starts a request: it is the next that is written. `onReset` comes before the body's end does. */
export function watchReset(onReset: (code: number) => void): void {
  let isOver = false;
  const onWriting = (message: unknown): void => {
    if (isOver) return;
    isOver = true;
    const session = sessionOf((message as { readonly socket?: object }).socket);
    if (session !== undefined) watchNextStream(session, onReset);
  };
  subscribe(WRITING, onWriting);
  // undici writes at once or gives the request up. Not inside the message: a channel would pass over its next subscriber.
  queueMicrotask(() => {
    unsubscribe(WRITING, onWriting);
  });
}

function watchNextStream(session: Session, onReset: (code: number) => void): void {
  const { request } = session;
  session.request = (...args) => {
    session.request = request;
    const stream = request.apply(session, args);
    const { push } = stream;
    stream.push = (chunk, encoding) => {
      if (chunk === null) {
        stream.push = push; // Node says it again when it closes the stream
        const code = stream.rstCode ?? NO_ERROR;
        if (stream.closed && code !== NO_ERROR) onReset(code);
      }
      return push.call(stream, chunk, encoding);
    };
    return stream;
  };
}

function sessionOf(socket: object | undefined): Session | undefined {
  if (socket === undefined) return undefined;
  const values = Object.getOwnPropertySymbols(socket).map((key): unknown => Reflect.get(socket, key));
  return values.find(isSession);
}

function isSession(value: unknown): value is Session {
  const { request, goaway, ping } = (value ?? {}) as Partial<Record<'request' | 'goaway' | 'ping', unknown>>;
  return [request, goaway, ping].every((method) => typeof method === 'function');
}
