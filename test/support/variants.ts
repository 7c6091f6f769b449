import {
  anthropic,
  gateway,
  gemini,
  inferencesh,
  infernet,
  infron,
  ollama,
  openai,
  polargrid,
} from '../../src/providers/index.js';
import type { Call } from '../../src/protocol/call.js';
import type { ProviderBaseURLs, ScriptedAnswer } from '../../src/testing/index.js';
import { anthropicStream } from '../../src/testing/wire/anthropic.js';
import { gatewayStream } from '../../src/testing/wire/gateway.js';
import { geminiStream } from '../../src/testing/wire/gemini.js';
import { inferenceshChatStream } from '../../src/testing/wire/inferenceshChat.js';
import { inferenceshTaskStream, newTask, taskSteps } from '../../src/testing/wire/inferenceshTask.js';
import { infernetJobStream } from '../../src/testing/wire/infernetJobs.js';
import { infernetNativeStream } from '../../src/testing/wire/infernetNative.js';
import { infernetShimStream } from '../../src/testing/wire/infernetShim.js';
import { infronStream } from '../../src/testing/wire/infron.js';
import { ollamaStream } from '../../src/testing/wire/ollama.js';
import { openaiChatStream } from '../../src/testing/wire/openai.js';
import { polargridChatStream, polargridTextStream } from '../../src/testing/wire/polargrid.js';
import { responsesStream } from '../../src/testing/wire/responses.js';
import type { WireAnswer, WireStream } from '../../src/testing/wire/wireAnswer.js';

/** One way of one provider to stream an answer, and a good stream of it. */
export interface Variant {
  readonly name: string;
  readonly framing: 'sse' | 'ndjson';
  readonly stream: WireStream;
  readonly text: string;
  /** The same answer for a server that writes the frames itself. */
  readonly content: ScriptedAnswer;
  /** The same call, against a server. */
  readonly ask: (baseURLs: ProviderBaseURLs, headers?: Readonly<Record<string, string>>) => Call;
}

const pieces = ['Ly', 'on – ', '"quoted\\" ', '🐎', '\n', 'and [DONE] and data: end.'];
const plain: WireAnswer = {
  id: 'a1',
  model: 'm',
  createdAt: Date.UTC(2026, 10, 21, 9),
  thinking: [],
  pieces,
  finish: 'stop',
  usage: { inputTokens: 9, outputTokens: 6, reasoningTokens: 0 },
  logs: ['loading', 'žluťoučký'],
};
const thoughtful: WireAnswer = { ...plain, thinking: ['Let me ', 'think…'] };
const calling: WireAnswer = {
  ...thoughtful,
  finish: 'tool_calls',
  toolCall: { id: 'call_1', name: 'look', argumentPieces: ['{"q":', '"é"}'] },
};
const plainCalling: WireAnswer = { ...calling, thinking: [] };
const turn = { chatId: 'ch1', runId: 'r1', messageId: 'msg_2', toolId: 'ti1' };
const messages = [{ role: 'user', content: 'Where?' }] as const;
const apiKey = 'key-of-the-tests';

const streams: readonly (Omit<Variant, 'text' | 'content'> & { readonly answer: WireAnswer })[] = [
  {
    name: 'Infernet jobs',
    framing: 'sse',
    stream: infernetJobStream(plain),
    answer: plain,
    ask: (urls, headers) => infernet({ apiKey, baseURL: urls.infernet, headers }).chat({ model: 'm', messages }),
  },
  {
    name: 'Infernet jobs, asked and streamed in one request',
    framing: 'sse',
    stream: infernetJobStream(plain),
    answer: plain,
    ask: (urls, headers) => infernet({ apiKey, baseURL: urls.infernet, headers }).direct({ model: 'm', messages }),
  },
  {
    name: 'Infernet native chat',
    framing: 'sse',
    stream: infernetNativeStream(plain),
    answer: plain,
    ask: (urls, headers) => infernet({ apiKey, originURL: urls.infernetOrigin, headers }).native({ messages }),
  },
  {
    name: 'Infernet chat completions',
    framing: 'sse',
    stream: infernetShimStream(plain),
    answer: plain,
    ask: (urls, headers) =>
      infernet({ apiKey, originURL: urls.infernetOrigin, headers }).openai({ model: 'm', messages }),
  },
  {
    name: 'Infron',
    framing: 'sse',
    stream: infronStream(thoughtful),
    answer: thoughtful,
    ask: (urls, headers) => infron({ apiKey, baseURL: urls.infron, headers }).chat({ model: 'm', messages }),
  },
  {
    name: 'Infron with a tool call',
    framing: 'sse',
    stream: infronStream(calling),
    answer: calling,
    ask: (urls, headers) => infron({ apiKey, baseURL: urls.infron, headers }).chat({ model: 'm', messages }),
  },
  {
    name: 'inference.sh task as NDJSON',
    framing: 'ndjson',
    stream: inferenceshTaskStream(newTask(thoughtful, 'a/b', {}), taskSteps(thoughtful), 'ndjson'),
    answer: thoughtful,
    ask: (urls, headers) => inferencesh({ apiKey, baseURL: urls.inferencesh, headers }).run({ app: 'a/b', input: {} }),
  },
  {
    name: 'inference.sh task as server-sent events',
    framing: 'sse',
    stream: inferenceshTaskStream(newTask(plain, 'a/b', {}), taskSteps(plain), 'sse'),
    answer: plain,
    ask: (urls, headers) => {
      const call = inferencesh({ apiKey, baseURL: urls.inferencesh, headers }).run({ app: 'a/b', input: {} });
      return { ...call, stream: (id) => ({ ...call.stream(id), accept: ['text/event-stream'] }) };
    },
  },
  {
    name: 'inference.sh agent chat',
    framing: 'ndjson',
    stream: inferenceshChatStream(thoughtful, turn, 'ndjson'),
    answer: thoughtful,
    ask: (urls, headers) =>
      inferencesh({ apiKey, baseURL: urls.inferencesh, headers }).agent({ agent: 'a/b@1', input: 'Where?' }),
  },
  {
    name: 'Gateway',
    framing: 'sse',
    stream: gatewayStream(thoughtful),
    answer: thoughtful,
    ask: (urls, headers) =>
      gateway({ apiKey, baseURL: urls.gateway, headers }).chat({ service_name: 's', model_name: 'm', input: 'Where?' }),
  },
  {
    name: 'PolarGrid chat',
    framing: 'sse',
    stream: polargridChatStream(thoughtful),
    answer: thoughtful,
    ask: (urls, headers) => polargrid({ apiKey, baseURL: urls.polargrid, headers }).chat({ model: 'm', messages }),
  },
  {
    name: 'PolarGrid chat with a tool call',
    framing: 'sse',
    stream: polargridChatStream(calling),
    answer: calling,
    ask: (urls, headers) => polargrid({ apiKey, baseURL: urls.polargrid, headers }).chat({ model: 'm', messages }),
  },
  {
    name: 'PolarGrid text completion',
    framing: 'sse',
    stream: polargridTextStream(plain),
    answer: plain,
    ask: (urls, headers) =>
      polargrid({ apiKey, baseURL: urls.polargrid, headers }).completion({ model: 'm', prompt: 'W' }),
  },
  {
    name: 'OpenAI chat',
    framing: 'sse',
    stream: openaiChatStream(plainCalling),
    answer: plainCalling,
    ask: (urls, headers) => openai({ apiKey, baseURL: urls.openai, headers }).chat({ model: 'm', messages }),
  },
  {
    name: 'OpenAI Responses',
    framing: 'sse',
    stream: responsesStream(calling),
    answer: calling,
    ask: (urls, headers) =>
      openai({ apiKey, baseURL: urls.openai, headers }).responses({ model: 'm', input: 'Where?', reasoning: {} }),
  },
  {
    name: 'Anthropic',
    framing: 'sse',
    stream: anthropicStream(calling),
    answer: calling,
    ask: (urls, headers) =>
      anthropic({ apiKey, baseURL: urls.anthropic, headers }).messages({ model: 'm', messages, max_tokens: 100 }),
  },
  {
    name: 'Gemini',
    framing: 'sse',
    stream: geminiStream(calling),
    answer: calling,
    ask: (urls, headers) =>
      gemini({ apiKey, baseURL: urls.gemini, headers }).generateContent({ model: 'm', contents: 'Where?' }),
  },
  {
    name: 'Ollama',
    framing: 'ndjson',
    stream: ollamaStream(calling),
    answer: calling,
    ask: (urls, headers) => ollama({ baseURL: urls.ollama, headers }).chat({ model: 'm', messages }),
  },
];

/** Every provider, in every way that it streams. */
export const variants: readonly Variant[] = streams.map(({ answer, ...variant }) => ({
  ...variant,
  text: pieces.join(''),
  content: contentOf(answer),
}));

function contentOf({ thinking, toolCall, logs }: WireAnswer): ScriptedAnswer {
  const call = toolCall && { name: toolCall.name, arguments: JSON.parse(toolCall.argumentPieces.join('')) as unknown };
  return { pieces, logs, ...(thinking.length > 0 && { thinking }), ...(call && { toolCall: call }) };
}
