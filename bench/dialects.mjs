// A stream in each dialect, written by the frames' own descriptions in `src/testing/wire`, which the mock servers use too.
import { charsOf, tokensOf } from './fixtures.mjs';
import { load } from './millrace.mjs';

const task = { chatId: 'ch_01', runId: 'run_01', messageId: 'msg_02', toolId: 'ti_01' };

/** How each dialect is written, given the functions of `src/testing/wire`. */
const WRITERS = {
  'infernet jobs': (wire, answer) => wire.infernetJobStream(answer),
  'infernet native': (wire, answer) => wire.infernetNativeStream(answer),
  infron: (wire, answer) => wire.infronStream(answer),
  'inferencesh task': (wire, answer) =>
    wire.inferenceshTaskStream(wire.newTask(answer, 'a/b', {}), wire.taskSteps(answer), 'ndjson'),
  'inferencesh agent': (wire, answer) => wire.inferenceshChatStream(answer, task, 'ndjson'),
  gateway: (wire, answer) => wire.gatewayStream(answer),
  polargrid: (wire, answer) => wire.polargridChatStream(answer),
  chat: (wire, answer) => wire.openaiChatStream(answer),
  responses: (wire, answer) => wire.responsesStream(answer),
  anthropic: (wire, answer) => wire.anthropicStream(answer),
  gemini: (wire, answer) => wire.geminiStream(answer),
  ollama: (wire, answer) => wire.ollamaStream(answer),
};

/** The dialects that are measured. */
export const DIALECTS = Object.keys(WRITERS);

/** The modules of the built `testing/wire` as one object. */
async function builtWire() {
  const files = [
    'anthropic',
    'gateway',
    'gemini',
    'inferenceshChat',
    'inferenceshTask',
    'infernetJobs',
    'infernetNative',
    'infron',
    'ollama',
    'openai',
    'polargrid',
    'responses',
  ];
  const modules = await Promise.all(files.map((file) => load(`testing/wire/${file}.js`)));
  return Object.assign({}, ...modules);
}

/** An answer of so many tokens in a dialect. */
export async function dialectFixture(name, count, wire) {
  const pieces = tokensOf(count);
  const answer = {
    id: 'answer_8Zs3kq1mVb02',
    model: 'story-teller-8b-instruct',
    createdAt: Date.UTC(2026, 0, 5, 9),
    thinking: [],
    pieces,
    finish: 'stop',
    usage: { inputTokens: 21, outputTokens: count, reasoningTokens: 0 },
    logs: [],
  };
  const write = WRITERS[name];
  if (write === undefined) throw new Error(`No dialect is named ${JSON.stringify(name)}`);
  const { frames } = write(wire ?? (await builtWire()), answer);
  return { name, format: name, frames, tokens: count, chars: charsOf(pieces) };
}
