import { chatCompletion } from '../wire/chatCompletion.js';
import { gatewayError, gatewayResult, gatewayStream } from '../wire/gateway.js';
import { infronError, infronStream, infronUsage } from '../wire/infron.js';
import { polargridChatStream, polargridError, polargridTextStream } from '../wire/polargrid.js';
import type { WireAnswer } from '../wire/wireAnswer.js';
import { direct, type DirectFormat } from './direct.js';
import { compose, replyJSON, type Route } from './visit.js';

const INFRON: DirectFormat = {
  contentType: 'text/event-stream',
  idPrefix: 'gen-',
  stream: infronStream,
  error: infronError,
  usualError: { code: 502, message: 'upstream failed' },
  whole: (answer) => ({ ...chatCompletion(answer), ...(answer.usage && infronUsage(answer.usage)) }),
};

const GATEWAY: DirectFormat = {
  contentType: 'text/event-stream; charset=utf-8',
  idPrefix: 'gw-',
  stream: gatewayStream,
  error: gatewayError,
  usualError: { code: 'upstream_error', message: 'The service behind the gateway failed' },
};

const POLARGRID: DirectFormat = {
  contentType: 'text/event-stream',
  idPrefix: 'chatcmpl-',
  stream: polargridChatStream,
  error: polargridError,
  usualError: { code: 503, message: 'overloaded' },
  whole: chatCompletion,
};

/** Infron, the gateway and PolarGrid: the stream is the answer to the request. */
export const chatRoutes: readonly Route[] = [
  {
    provider: 'infron',
    surface: 'infron',
    method: 'POST',
    path: '/infron/v1/chat/completions',
    begins: true,
    requires: ['model', 'messages'],
    serve: direct(INFRON),
  },
  {
    provider: 'gateway',
    surface: 'gateway',
    method: 'POST',
    path: '/gateway/api/v1/generate/stream',
    begins: true,
    requires: ['service_name', 'model_name', 'input'],
    serve: direct(GATEWAY),
  },
  {
    provider: 'gateway',
    surface: 'gateway',
    method: 'POST',
    path: '/gateway/api/v1/generate',
    begins: true,
    requires: ['service_name', 'model_name', 'input'],
    serve: (visit) => replyJSON(visit, gatewayResult(compose(visit, visit.desk.id('gw-'), visit.taken?.script ?? {}))),
  },
  {
    provider: 'polargrid',
    surface: 'polargrid',
    method: 'POST',
    path: '/polargrid/v1/chat/completions',
    begins: true,
    requires: ['model', 'messages'],
    serve: direct(POLARGRID),
  },
  {
    provider: 'polargrid',
    surface: 'polargrid',
    method: 'POST',
    path: '/polargrid/v1/completions',
    begins: true,
    requires: ['model', 'prompt'],
    serve: direct({ ...POLARGRID, idPrefix: 'cmpl-', stream: polargridTextStream, whole: textCompletion }),
  },
  {
    provider: 'polargrid',
    surface: 'polargrid',
    method: 'GET',
    path: '/polargrid/v1/models',
    serve: (visit) => replyJSON(visit, { object: 'list', data: [{ id: 'millwheel-1', object: 'model' }] }),
  },
  {
    provider: 'polargrid',
    surface: 'polargrid',
    method: 'GET',
    path: '/polargrid/health',
    isOpen: true,
    serve: (visit) => replyJSON(visit, { status: 'healthy' }),
  },
];

function textCompletion(answer: WireAnswer): object {
  return {
    ...chatCompletion(answer),
    object: 'text_completion',
    choices: [{ index: 0, text: answer.pieces.join(''), finish_reason: answer.finish }],
  };
}
