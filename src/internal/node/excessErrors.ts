import { LimitError } from '../../errors.js';
import type { TransportRequest } from '../io.js';
import { redactURL } from '../redactURL.js';

/** The error for a body that swells beyond measure when it is decoded. */
export function decompressionError(request: TransportRequest, bytesIn: number, bytesOut: number): LimitError {
  const { maxDecompressionRatio: max } = request;
  const where = redactURL(request.url);
  return new LimitError(
    'maxDecompressionRatio',
    max,
    `${where} sent ${String(bytesIn)} compressed bytes that became ${String(bytesOut)} and more: over ${String(max)} for one (maxDecompressionRatio)`,
    { context: { url: where, bytesIn, bytesOut } },
  );
}

/** The error for headers that are too large. @param maxBytes - undefined where the limit is not told */
export function headersError(request: TransportRequest, maxBytes: number | undefined): LimitError {
  const where = redactURL(request.url);
  const remedy = maxBytes === undefined ? 'the maxHeaderSize of its dispatcher raises it' : 'maxHeaderBytes raises it';
  return new LimitError(
    'maxHeaderBytes',
    maxBytes ?? Number.NaN,
    `The headers of ${where} are larger than the limit${maxBytes === undefined ? '' : ` of ${String(maxBytes)} bytes`}; ${remedy}`,
    { context: { url: where } },
  );
}
