/**
 * undici 7 kills the process when a connection ends under a paused response: with `Connection: close` or HTTP/1.0 its listeners
 * on the socket call `Parser.finish()`, which asserts that the parser is not paused, where nothing can catch it
 * (https://github.com/nodejs/undici/issues/5360; repaired for undici 8 in #5389 and #5474, not in any 7.x up to 7.30.2).
 * Pausing is how a slow sink holds a stream back, so this is an ordinary end for us. Without the crash, as in undici 8.12.4, a whole
 * answer of a connection that was to stay open still passes for a cut one when the server closes it under a paused parser.
 *
 * The pools made here add listeners of their own to each new socket, before undici adds its own, and wake the parser there.
 * This file can go, with its use in `undiciTransport.ts`, when the lowest undici in `package.json` does without: the tests of
 * "a connection that ends while its reader is slow" tell.
 */
import type { Socket } from 'node:net';
import { buildConnector, type Dispatcher, Pool } from 'undici';

/** What is needed of undici's parser, which is not exported: it is known by its shape. */
interface PausedParser {
  paused: boolean;
  readonly ptr: number;
  readonly llhttp: { llhttp_resume(ptr: number): void };
  resume(): void;
  finish(): unknown;
}

/** A pool for `factory` of undici's agents. It keeps their connector, which is a tunnel's for an origin behind a proxy. */
export function wakingPool(origin: string | URL, options: object): Dispatcher {
  const { connect, ...others } = options as Pool.Options;
  const connector = typeof connect === 'function' ? connect : buildConnector({ allowH2: false, ...connect });
  return new Pool(origin, {
    ...others,
    connect: (target, callback) => {
      connector(target, (...result) => {
        // By the error: after one, whatever the types say, the socket is missing.
        if (result[0] === null) {
          wakeAtEnd(result[1]);
          readInPieces(result[1]);
        }
        callback(...result);
      });
    },
  });
}

function wakeAtEnd(socket: Socket): void {
  socket.on('end', () => {
    // All was read, but the parser may have stopped between the last byte and the end of the message: this takes it there.
    // It comes back paused where the body has no end of its own or lacks some of it.
    pausedParser(socket)?.resume();
    wake(socket);
  });
  const listener = (): void => {
    wake(socket);
  };
  socket.on('error', listener);
  socket.on('close', listener);
}

/** A read of the network: libuv's. A larger `read` would raise the socket's own mark. */
const PIECE_BYTES = 64 * 1024;

/**
 * undici reads all that a socket holds, parses until its reader pauses, and puts the rest back. A socket that was emptied asks the
 * network for more, whatever is put back: so each pause within a read adds another read, and copies all of it. With a sink that
 * fills at 16 KiB the process held 22 MiB of one stream after 10 s (undici 7.30.2 and 8.12.4). Here what was put back is taken
 * alone, which copies nothing, and a socket is not emptied before it is low.
 */
function readInPieces(socket: Socket): void {
  const read = socket.read.bind(socket);
  const unshift = socket.unshift.bind(socket);
  let putBack = 0;
  socket.unshift = (chunk: Uint8Array, encoding) => {
    putBack = chunk.length;
    unshift(chunk, encoding);
  };
  socket.read = (bytes) => {
    const waiting = putBack > 0 ? putBack : socket.readableLength;
    const wanted = bytes ?? (putBack > 0 || waiting > PIECE_BYTES ? Math.min(waiting, PIECE_BYTES) : undefined);
    putBack = Math.max(0, putBack - (wanted ?? 0));
    return read(wanted) as unknown;
  };
}

/** Unlike `resume`, parses nothing: undici's `finish` is next. */
function wake(socket: Socket): void {
  const parser = pausedParser(socket);
  if (parser === undefined) return;
  parser.llhttp.llhttp_resume(parser.ptr);
  parser.paused = false;
}

function pausedParser(socket: Socket): PausedParser | undefined {
  const values = Object.getOwnPropertySymbols(socket).map((key): unknown => Reflect.get(socket, key));
  return values.find(isPausedParser);
}

function isPausedParser(value: unknown): value is PausedParser {
  if (typeof value !== 'object' || value === null) return false;
  const { paused, ptr, llhttp, resume, finish } = value as { readonly [Key in keyof PausedParser]?: unknown };
  return (
    paused === true &&
    typeof ptr === 'number' &&
    typeof resume === 'function' &&
    typeof finish === 'function' &&
    typeof (llhttp as Partial<PausedParser['llhttp']> | null | undefined)?.llhttp_resume === 'function'
  );
}
