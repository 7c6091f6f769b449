import type { IncomingMessage } from 'node:http';

/** A conversation is long when it is this long. */
const MAX_BYTES = 256 * 1024;

/** Reads a request's body. @throws where it is no JSON, or too much */
export async function readJSON(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_BYTES) throw new RangeError(`The request is longer than ${String(MAX_BYTES)} bytes`);
    chunks.push(chunk);
  }
  return JSON.parse(Buffer.concat(chunks).toString('utf8'));
}
