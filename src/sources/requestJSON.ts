import { defaultIfEmpty, map, type Observable, reduce } from 'rxjs';
import { LimitError, ProtocolError } from '../errors.js';
import { fromHTTP, type FromHTTPOptions } from './fromHTTP.js';
import { decodeChunks } from '../internal/decodeChunks.js';
import type { FramingLimits } from '../internal/parseBody.js';
import { redactURL } from '../internal/redactURL.js';

/** Bytes of a JSON answer to a request that creates or reads work, unless the caller says otherwise; most are a few hundred. */
const DEFAULT_MAX_BYTES = 16 * 1024 * 1024;

/**
 * Makes a request that is answered by one JSON document; `undefined` for an empty body. The document counts as one line, as
 * that of a stream does.
 */
export function requestJSON(
  url: string,
  options: FromHTTPOptions & Pick<FramingLimits, 'maxLineBytes'>,
): Observable<unknown> {
  const { maxLineBytes = DEFAULT_MAX_BYTES } = options;
  return fromHTTP(url, { ...options, accept: ['application/json', 'application/problem+json', '*/*'] }).pipe(
    reduce<Uint8Array, { chunks: Uint8Array[]; bytes: number }>(
      (body, chunk) => {
        body.bytes += chunk.length;
        if (body.bytes > maxLineBytes) {
          throw new LimitError(
            'maxLineBytes',
            maxLineBytes,
            `${redactURL(url)} answered more than maxLineBytes (${String(maxLineBytes)}) of JSON`,
          );
        }
        body.chunks.push(chunk);
        return body;
      },
      { chunks: [], bytes: 0 },
    ),
    defaultIfEmpty({ chunks: [], bytes: 0 }),
    map(({ chunks }) => {
      const text = decodeChunks(chunks);
      if (text.trim() === '') return undefined;
      try {
        return JSON.parse(text) as unknown;
      } catch (error) {
        throw new ProtocolError(`${redactURL(url)} answered ${String(text.length)} characters that are not JSON`, {
          context: { url: redactURL(url) },
          cause: error instanceof SyntaxError ? undefined : error,
        });
      }
    }),
  );
}
