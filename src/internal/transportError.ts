import { io } from '#io';
import { HTTPError, InterruptedError, type MillraceError } from '../errors.js';
import { failureCode, failureText } from './failureCode.js';
import type { FailedRequest, TransportFailure } from './io.js';
import { redactURL } from './redactURL.js';

/** The error for a transport's failure: what happened, to what, and what to do. */
export function transportError(kind: TransportFailure, cause: unknown, request: FailedRequest): MillraceError {
  const explained = io.explainFailure?.(kind, cause, request);
  if (explained !== undefined) return explained;
  const where = redactURL(request.url);
  const context = { url: where, code: failureCode(cause) };
  if (kind === 'redirect') {
    return new HTTPError(`${where} answered with a redirect, which was not followed (redirect: 'error')`, {
      status: 0,
      context,
    });
  }
  const { beforeHeaders } = request;
  const what = beforeHeaders
    ? `The connection to ${where} was lost before an answer`
    : `The stream from ${where} was cut`;
  const during = beforeHeaders ? 'headers' : 'body';
  return new InterruptedError(`${what}: ${failureText(cause)}`, { during, context, cause });
}
