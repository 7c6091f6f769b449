import type { OutgoingHttpHeaders } from 'node:http';
import type { Surface } from '../providerName.js';
import type { WireError } from '../wire/wireAnswer.js';

/** An HTTP error as a provider writes it. */
export interface ErrorReply {
  readonly headers: OutgoingHttpHeaders;
  readonly body: unknown;
}

/** The body and headers of an HTTP error, in the shape of the place that was asked. */
export function errorReply(surface: Surface, status: number, words: Partial<WireError> = {}): ErrorReply {
  const usual = USUAL[status] ?? (status >= 500 ? SERVER_ERROR : CLIENT_ERROR);
  const { code, message = usual.message } = words;
  return {
    headers: {
      'content-type': surface === 'inferencesh' ? 'application/problem+json' : 'application/json',
      ...(status === 429 && { 'retry-after': '2' }),
      ...(status === 429 && surface === 'infernetJobs' && RATE_LIMIT_HEADERS),
    },
    body: BODIES[surface]({ status, code, usual: usual.code, message }),
  };
}

interface ErrorFacts {
  readonly status: number;
  readonly code: string | number | undefined;
  readonly usual: string;
  readonly message: string;
}

const CLIENT_ERROR = { code: 'bad_request', message: 'The request was not understood' };
const SERVER_ERROR = { code: 'internal_error', message: 'Something went wrong on our side' };

const USUAL: Readonly<Partial<Record<number, { readonly code: string; readonly message: string }>>> = {
  400: CLIENT_ERROR,
  401: { code: 'unauthorized', message: 'Invalid or missing API key' },
  402: { code: 'insufficient_credits', message: 'The account has no credit left' },
  403: { code: 'forbidden', message: 'This key may not do that' },
  404: { code: 'not_found', message: 'There is nothing here' },
  408: { code: 'timeout', message: 'The request took too long' },
  429: { code: 'rate_limited', message: 'Too many requests' },
  500: SERVER_ERROR,
  503: { code: 'no_capacity', message: 'No capacity at the moment' },
};

const RATE_LIMIT_HEADERS = { 'x-ratelimit-limit': '60', 'x-ratelimit-remaining': '0' };

const BODIES: Readonly<Record<Surface, (facts: ErrorFacts) => unknown>> = {
  infernetJobs: ({ code, usual, message }) => ({ error: code ?? usual, error_message: message }),
  infernetNative: ({ message }) => ({ error: message }),
  infernetShim: ({ status, code, message }) => ({ error: { message, type: 'infernet_error', code: code ?? status } }),
  infron: ({ status, code, usual, message }) => ({ error: { code: code ?? status, message, type: usual } }),
  inferencesh: ({ status, code, usual, message }) => ({
    type: `https://api.inference.sh/errors/${String(code ?? PROBLEM_TYPES[status] ?? usual)}`,
    title: message,
    status,
    detail: message,
  }),
  gateway: ({ message }) => ({ detail: message }),
  // Its current servers answer a bad key as FastAPI does, and everything else in the older shape.
  polargrid: ({ status, code, usual, message }) =>
    status === 401
      ? { detail: `Invalid token: ${message}` }
      : {
          error: {
            message,
            type: status === 429 ? 'rate_limit_error' : `${usual}_error`,
            code: code ?? (status === 429 ? 'rate_limit_exceeded' : usual),
          },
        },
  openai: ({ status, code, usual, message }) => ({
    error: {
      message,
      type: status >= 500 ? 'server_error' : 'invalid_request_error',
      param: null,
      code: code ?? usual,
    },
  }),
  anthropic: ({ status, code, usual, message }) => ({
    type: 'error',
    error: { type: code ?? ANTHROPIC_TYPES[status] ?? usual, message },
    request_id: 'req_mill',
  }),
  gemini: ({ status, code, message }) => ({
    error: { code: status, message, status: code ?? GEMINI_STATUSES[status] ?? 'UNKNOWN' },
  }),
  ollama: ({ message }) => ({ error: message }),
};

const ANTHROPIC_TYPES: Readonly<Partial<Record<number, string>>> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  404: 'not_found_error',
  429: 'rate_limit_error',
  500: 'api_error',
  529: 'overloaded_error',
};

const GEMINI_STATUSES: Readonly<Partial<Record<number, string>>> = {
  400: 'INVALID_ARGUMENT',
  401: 'UNAUTHENTICATED',
  404: 'NOT_FOUND',
  429: 'RESOURCE_EXHAUSTED',
  500: 'INTERNAL',
  503: 'UNAVAILABLE',
};

const PROBLEM_TYPES: Readonly<Partial<Record<number, string>>> = { 400: 'invalid_request' };
