import { describe, expect, it } from 'vitest';
import { readErrorBody } from '../../src/protocol/errorBody.js';

describe('readErrorBody reads', () => {
  it.each([
    [
      'OpenAI and its copies',
      { error: { code: 'invalid_api_key', type: 'auth', message: 'No' } },
      { code: 'invalid_api_key', type: 'auth', message: 'No' },
    ],
    [
      'a type for a missing code',
      { error: { type: 'overloaded_error', message: 'Busy' } },
      { code: 'overloaded_error' },
    ],
    ['numeric codes', { error: { code: 503, message: 'Busy' } }, { code: 503, message: 'Busy' }],
    ['a status for a missing code', { error: { status: 'UNAVAILABLE', message: 'Busy' } }, { code: 'UNAVAILABLE' }],
    [
      'Infernet’s HTTP bodies',
      { error: 'unauthorized', error_message: 'Expired' },
      { code: 'unauthorized', message: 'Expired' },
    ],
    ['Infernet’s frames', { error: 'no_capacity', message: 'Full' }, { code: 'no_capacity', message: 'Full' }],
    ['a code alone', { error: 'no_capacity' }, { code: 'no_capacity', message: 'no_capacity' }],
    ['a sentence', { error: 'model not found' }, { code: undefined, message: 'model not found' }],
    [
      'a sentence beside details',
      { error: 'Too many requests', detail: { resetAt: 1 } },
      { code: undefined, message: 'Too many requests' },
    ],
    ['a detail', { detail: 'Not Found' }, { code: undefined, message: 'Not Found' }],
    [
      'FastAPI’s list',
      { detail: [{ loc: ['body'], msg: 'field required', type: 'missing' }, { msg: 'too long' }] },
      { message: 'field required; too long' },
    ],
    [
      'RFC 9457, the code from its type',
      { type: 'https://api.inference.sh/errors/unauthorized', title: 'Unauthorized', status: 401, detail: 'Bad key' },
      { code: 'unauthorized', message: 'Bad key' },
    ],
    [
      'RFC 9457 without a detail',
      { type: 'https://x/y/z', title: 'Unauthorized' },
      { code: 'z', message: 'Unauthorized' },
    ],
    [
      'RFC 9457 without a type of its own',
      { type: 'about:blank', title: 'Gone', status: 410 },
      { code: undefined, type: undefined, message: 'Gone' },
    ],
    [
      'a message with a code',
      { message: 'Slow down', code: 'rate_limited' },
      { code: 'rate_limited', message: 'Slow down' },
    ],
    ['a CDN’s capital', { Message: 'Forbidden' }, { message: 'Forbidden' }],
    [
      'unmet requirements',
      {
        satisfied: false,
        errors: [{ type: 'secret', key: 'HF_TOKEN', message: 'Missing HF_TOKEN' }, { key: 'github' }],
      },
      { code: undefined, message: 'Missing HF_TOKEN; github' },
    ],
    [
      'the first version of inference.sh',
      { success: false, status: 404, error: { code: 'SESSION_NOT_FOUND', message: 'No such session' } },
      { code: 'SESSION_NOT_FOUND', message: 'No such session' },
    ],
    ['a bare string', 'upstream failed', { code: undefined, message: 'upstream failed' }],
  ])('%s', (_, body, report) => {
    expect(readErrorBody(body)).toMatchObject(report);
  });

  it.each([undefined, null, 7, '', [], {}, { error: null }, { error: {} }, { errors: [] }, { detail: [] }])(
    'nothing into %j',
    (body) => {
      expect(readErrorBody(body)).toEqual({ code: undefined, type: undefined, message: undefined });
    },
  );
});
