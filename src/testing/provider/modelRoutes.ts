import { anthropicError, anthropicStream } from '../wire/anthropic.js';
import { chatCompletion } from '../wire/chatCompletion.js';
import { geminiError, geminiStream } from '../wire/gemini.js';
import { ollamaError, ollamaStream } from '../wire/ollama.js';
import { openaiChatStream, openaiError } from '../wire/openai.js';
import { responsesError, responsesStream } from '../wire/responses.js';
import { direct } from './direct.js';
import { type Route } from './visit.js';

/** OpenAI, Anthropic, Gemini and Ollama. */
export const modelRoutes: readonly Route[] = [
  {
    provider: 'openai',
    surface: 'openai',
    method: 'POST',
    path: '/openai/v1/chat/completions',
    begins: true,
    requires: ['model', 'messages'],
    serve: direct({
      contentType: 'text/event-stream; charset=utf-8',
      idPrefix: 'chatcmpl-',
      stream: openaiChatStream,
      error: openaiError,
      usualError: { code: 'server_error', message: 'The server had an error' },
      whole: chatCompletion,
    }),
  },
  {
    provider: 'openai',
    surface: 'openai',
    method: 'POST',
    path: '/openai/v1/responses',
    begins: true,
    requires: ['model'],
    serve: direct({
      contentType: 'text/event-stream; charset=utf-8',
      idPrefix: 'resp_',
      stream: responsesStream,
      error: responsesError,
      usualError: { code: 'server_error', message: 'The server had an error' },
    }),
  },
  {
    provider: 'anthropic',
    surface: 'anthropic',
    method: 'POST',
    path: '/anthropic/v1/messages',
    begins: true,
    requires: ['model', 'messages', 'max_tokens'],
    serve: direct({
      contentType: 'text/event-stream; charset=utf-8',
      idPrefix: 'msg_',
      stream: anthropicStream,
      error: anthropicError,
      usualError: { code: 'overloaded_error', message: 'Overloaded' },
    }),
  },
  {
    provider: 'gemini',
    surface: 'gemini',
    method: 'POST',
    path: '/gemini/v1beta/models/{model}',
    begins: true,
    requires: ['contents'],
    serve: direct({
      contentType: 'text/event-stream',
      idPrefix: 'gem-',
      stream: geminiStream,
      error: geminiError,
      usualError: { code: 503, message: 'The model is overloaded' },
    }),
  },
  {
    provider: 'ollama',
    surface: 'ollama',
    method: 'POST',
    path: '/ollama/api/chat',
    begins: true,
    requires: ['model', 'messages'],
    serve: direct({
      contentType: 'application/x-ndjson',
      idPrefix: 'oll-',
      stream: ollamaStream,
      error: ollamaError,
      usualError: { code: 'error', message: 'an error was encountered while running the model' },
      garbage: '{"this is": not JSON\n',
    }),
  },
];
