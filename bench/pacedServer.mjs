// Many streams at a steady pace. Written to the sockets themselves: a server that formats each chunk would be late before any
// client is.
//
//   /<run>/<streams>/<tokens>/<interval in µs>/...      one token a packet, to each of the streams in turn
import { createServer } from 'node:net';
import { PacedRun } from './paced.mjs';

const runs = new Map();

function join(socket, path) {
  const [run, streams, tokens, intervalMicros] = path.slice(1).split('/');
  const key = [run, streams, tokens, intervalMicros].join('/');
  let paced = runs.get(key);
  if (paced === undefined) {
    paced = new PacedRun(Number(streams), Number(tokens), Number(intervalMicros));
    runs.set(key, paced);
  }
  if (paced.join(socket)) runs.delete(key);
}

/** Reads requests that follow one another on a connection; their bodies are small, and have a length. */
function serve(socket) {
  socket.setNoDelay(true);
  let received = '';
  socket.setEncoding('latin1');
  socket.on('data', (text) => {
    received += text;
    for (;;) {
      const end = received.indexOf('\r\n\r\n');
      if (end === -1) return;
      const length = Number(/^content-length: *(\d+)/im.exec(received.slice(0, end))?.[1] ?? 0);
      if (received.length < end + 4 + length) return;
      const [, path] = received.split(' ', 2);
      received = received.slice(end + 4 + length);
      join(socket, path);
    }
  });
  socket.on('error', () => socket.destroy()); // a client that leaves is no fault of the server
}

export function createPacedServer() {
  return createServer(serve);
}
