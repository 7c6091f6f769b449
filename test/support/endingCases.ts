import type { Outcome } from '../../src/types.js';
import type { WireFormat } from './officialClients.js';

/** How the server is over with its answer: the body's end as HTTP tells it, a FIN without it, or a reset. */
export type BodyEnd = 'told' | 'missing' | 'reset';

/**
 * What the sender knows of the answer. `whole`: all of it is there. `cut`: text or a tool call is missing. `failed`: the stream
 * says that it failed. `open`: all text came and what is missing is the sign of the end, or the reverse: both readings can be defended.
 */
export type Truth = 'whole' | 'cut' | 'failed' | 'open';

/** One stream, and what is known of it. */
export interface EndingCase {
  readonly format: WireFormat;
  /** What is sent, as it stands in the table. */
  readonly sent: string;
  /** The bytes. Behind each piece the server waits until the reader has given `seen`. */
  readonly pieces: readonly { readonly bytes: string | Uint8Array; readonly seen?: string }[];
  readonly end: BodyEnd;
  readonly truth: Truth;
  readonly contentType: string;
  /** What millrace makes of it. */
  readonly millrace: Expected;
}

/** A verdict that a test asserts. */
export interface Expected {
  readonly outcome: Outcome;
  readonly code?: string;
  readonly text: string;
  readonly warnings?: readonly string[];
}

/** A format of the wire, with the name it has in the document. */
export interface EndingFormat {
  readonly format: WireFormat;
  readonly title: string;
  /** How its end is told. */
  readonly sign: string;
  readonly cases: readonly EndingCase[];
}

const FIRST = 'The wheel turns ';
const REST = 'in the river.';
export const WHOLE = `${FIRST}${REST}`;

const SSE = 'text/event-stream';
const NDJSON = 'application/x-ndjson';

/** Beside `truth`, what each case says: what is sent behind the first half of the text, and what millrace makes of it. */
interface Row extends Partial<Pick<EndingCase, 'pieces' | 'end' | 'contentType'>> {
  readonly sent: string;
  /** Sent once the reader has the first half. */
  readonly then?: string;
  readonly truth: Truth;
  readonly millrace: Expected;
}

const interrupted: Expected = { outcome: 'interrupted', code: 'ERR_INTERRUPTED', text: FIRST };
const failed: Expected = { outcome: 'failed', code: 'ERR_PROVIDER', text: FIRST };
const malformed: Expected = { outcome: 'failed', code: 'ERR_PROTOCOL', text: FIRST };
const complete: Expected = { outcome: 'complete', text: WHOLE };

/** The rows that every format has. `next` gives the second half of the text, `finish` what a whole answer has behind it. */
function common(next: string, finish: string): readonly Row[] {
  const rows: readonly Row[] = [
    { sent: 'a whole answer', then: `${next}${finish}`, truth: 'whole', millrace: complete },
    { sent: 'nothing', pieces: [], truth: 'cut', millrace: { ...interrupted, text: '' } },
    { sent: 'the first half of the text', truth: 'cut', millrace: interrupted },
    {
      sent: 'the first half of the text, then half a frame',
      then: next.slice(0, next.indexOf(REST)),
      truth: 'cut',
      millrace: interrupted,
    },
    { sent: 'the first half, then a FIN inside the chunked body', end: 'missing', truth: 'cut', millrace: interrupted },
    { sent: 'the first half, then a TCP reset', end: 'reset', truth: 'cut', millrace: interrupted },
    {
      sent: 'the first half, a frame that is no JSON, then the end of a whole answer',
      then: `${next.replace(REST, `${REST}\\`)}${finish}`,
      truth: 'cut',
      millrace: malformed,
    },
  ];
  return rows;
}

function format(
  format: WireFormat,
  names: Pick<EndingFormat, 'title' | 'sign'>,
  begin: string,
  rows: readonly Row[],
  contentType: string = SSE,
): EndingFormat {
  const cases = rows.map(({ then, ...row }): EndingCase => ({
    format,
    end: 'told',
    contentType,
    pieces: [{ bytes: begin, seen: FIRST }, ...(then === undefined ? [] : [{ bytes: then }])],
    ...row,
  }));
  return { format, ...names, cases };
}

function data(frame: unknown): string {
  return `data: ${JSON.stringify(frame)}\n\n`;
}

function named(frame: { readonly type: string; readonly [key: string]: unknown }): string {
  return `event: ${frame.type}\n${data(frame)}`;
}

const overloaded = { message: 'The mill is full', type: 'server_error', code: 503 };

function jsonBody(error: unknown): Row {
  return {
    sent: 'status 200, and as its body the JSON of an error',
    pieces: [{ bytes: JSON.stringify(error) }],
    contentType: 'application/json',
    truth: 'failed',
    millrace: { outcome: 'failed', code: 'ERR_PROTOCOL', text: '' },
  };
}

// The chat family.

function chunk(delta: object, finish: string | null = null, more: object = {}): string {
  const choices = [{ index: 0, delta, finish_reason: finish, ...more }];
  return data({ id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: 'any', choices });
}

const toolChunk = (call: object): string => chunk({ tool_calls: [{ index: 0, ...call }] });
const chatTool =
  toolChunk({ id: 'call_1', type: 'function', function: { name: 'look', arguments: '' } }) +
  toolChunk({ function: { arguments: '{"at":"the ri' } });
const chatBegin = chunk({ role: 'assistant', content: FIRST });
const DONE = 'data: [DONE]\n\n';

const chat = format(
  'chat',
  {
    title: 'OpenAI Chat Completions, and what copies it',
    sign: 'a `finish_reason`, then `data: [DONE]`',
  },
  chatBegin,
  [
    ...common(chunk({ content: REST }), `${chunk({}, 'stop')}${DONE}`),
    {
      sent: 'all text and the finish reason, no `[DONE]`',
      then: chunk({ content: REST }) + chunk({}, 'stop'),
      truth: 'open',
      millrace: { ...complete, warnings: ['end-marker-missing'] },
    },
    {
      sent: 'all text and `[DONE]`, no finish reason',
      then: chunk({ content: REST }) + DONE,
      truth: 'open',
      millrace: { ...complete, warnings: ['finish-reason-missing'] },
    },
    {
      sent: 'the first half, then an error frame',
      then: data({ error: overloaded }),
      truth: 'failed',
      millrace: failed,
    },
    {
      sent: 'the first half, an error frame, then `[DONE]` (vLLM)',
      then: data({ error: overloaded }) + DONE,
      truth: 'failed',
      millrace: failed,
    },
    {
      sent: 'the first half, then an SSE field `error:` (llama.cpp)',
      then: `error: ${JSON.stringify(overloaded)}\n\n`,
      truth: 'failed',
      millrace: failed,
    },
    {
      sent: 'the first half, `finish_reason: "error"` with an error beside it (OpenRouter), then `[DONE]`',
      then:
        chunk({ content: '' }, 'error').replace('"choices"', `"error":${JSON.stringify(overloaded)},"choices"`) + DONE,
      truth: 'failed',
      millrace: failed,
    },
    {
      sent: 'the first half, `finish_reason: "stop"` with `native_finish_reason: "error"` (OpenRouter), then `[DONE]`',
      then: chunk({ content: '' }, 'stop', { native_finish_reason: 'error' }) + DONE,
      truth: 'failed',
      millrace: failed,
    },
    {
      sent: 'the first half, then half the arguments of a tool call',
      then: chatTool,
      truth: 'cut',
      millrace: interrupted,
    },
    {
      sent: 'the same, then `finish_reason: "tool_calls"` and `[DONE]`',
      then: chatTool + chunk({}, 'tool_calls') + DONE,
      truth: 'open',
      millrace: malformed,
    },
    jsonBody({ error: overloaded }),
  ],
);

// OpenAI Responses.

const responseOf = (status: string, more: object = {}): object => ({
  id: 'resp_1',
  object: 'response',
  created_at: 1,
  model: 'any',
  status,
  error: null,
  incomplete_details: null,
  output: [],
  tools: [],
  usage: null,
  ...more,
});
const place = { item_id: 'msg_1', output_index: 0, content_index: 0 };
const part = (text: string): object => ({ type: 'output_text', text, annotations: [] });
const item = (status: string, ...content: readonly object[]): object => ({
  id: 'msg_1',
  type: 'message',
  role: 'assistant',
  status,
  content,
});
const textDelta = (delta: string): string =>
  named({ type: 'response.output_text.delta', ...place, delta, logprobs: [] });
const responsesBegin =
  named({ type: 'response.created', response: responseOf('in_progress') }) +
  named({ type: 'response.output_item.added', output_index: 0, item: item('in_progress') }) +
  named({ type: 'response.content_part.added', ...place, part: part('') }) +
  textDelta(FIRST);
const itemDone =
  named({ type: 'response.output_text.done', ...place, text: WHOLE, logprobs: [] }) +
  named({ type: 'response.content_part.done', ...place, part: part(WHOLE) }) +
  named({ type: 'response.output_item.done', output_index: 0, item: item('completed', part(WHOLE)) });
const usage = {
  input_tokens: 9,
  input_tokens_details: { cached_tokens: 0 },
  output_tokens: 7,
  output_tokens_details: { reasoning_tokens: 0 },
  total_tokens: 16,
};
const completed = named({
  type: 'response.completed',
  response: responseOf('completed', { output: [item('completed', part(WHOLE))], usage }),
});

const responses = format(
  'responses',
  { title: 'OpenAI Responses', sign: '`response.completed`, `.incomplete` or `.failed`' },
  responsesBegin,
  [
    ...common(textDelta(REST), itemDone + completed),
    {
      sent: 'all text and its item done, no `response.completed`',
      then: textDelta(REST) + itemDone,
      truth: 'open',
      millrace: { ...interrupted, text: WHOLE },
    },
    {
      sent: 'the first half, then an `error` event',
      then: named({ type: 'error', code: 'server_error', message: 'The mill is full', param: null }),
      truth: 'failed',
      millrace: failed,
    },
    {
      sent: 'the first half, then `response.failed`',
      then: named({
        type: 'response.failed',
        response: responseOf('failed', { error: { code: 'server_error', message: 'The mill is full' } }),
      }),
      truth: 'failed',
      millrace: failed,
    },
    {
      sent: 'the first half, then half the arguments of a tool call',
      then:
        named({
          type: 'response.output_item.added',
          output_index: 1,
          item: {
            id: 'fc_1',
            type: 'function_call',
            call_id: 'call_1',
            name: 'look',
            arguments: '',
            status: 'in_progress',
          },
        }) +
        named({
          type: 'response.function_call_arguments.delta',
          item_id: 'fc_1',
          output_index: 1,
          delta: '{"at":"the ri',
        }),
      truth: 'cut',
      millrace: interrupted,
    },
    jsonBody({ error: overloaded }),
  ],
);

// Anthropic Messages.

const blockDelta = (text: string): string =>
  named({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } });
const anthropicBegin =
  named({
    type: 'message_start',
    message: {
      id: 'msg_1',
      type: 'message',
      role: 'assistant',
      model: 'any',
      content: [],
      stop_reason: null,
      stop_sequence: null,
      usage: { input_tokens: 9, output_tokens: 1 },
    },
  }) +
  named({ type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } }) +
  blockDelta(FIRST);
const blockStop = named({ type: 'content_block_stop', index: 0 });
const messageDelta = named({
  type: 'message_delta',
  delta: { stop_reason: 'end_turn', stop_sequence: null },
  usage: { output_tokens: 7 },
});
const messageStop = named({ type: 'message_stop' });
const anthropicError = { type: 'error', error: { type: 'overloaded_error', message: 'The mill is full' } };
const withoutNames = (stream: string): string => stream.replace(/^event: .*\n/gm, '');

const anthropic = format('anthropic', { title: 'Anthropic Messages', sign: '`message_stop`' }, anthropicBegin, [
  ...common(blockDelta(REST), blockStop + messageDelta + messageStop),
  {
    sent: 'a whole answer without its `event:` lines',
    pieces: [{ bytes: withoutNames(anthropicBegin + blockDelta(REST) + blockStop + messageDelta + messageStop) }],
    truth: 'whole',
    millrace: complete,
  },
  {
    sent: 'all text and the stop reason, no `message_stop`',
    then: blockDelta(REST) + blockStop + messageDelta,
    truth: 'open',
    millrace: { ...interrupted, text: WHOLE },
  },
  { sent: 'the first half, then an `error` event', then: named(anthropicError), truth: 'failed', millrace: failed },
  {
    sent: 'the first half, then half the input of a tool call',
    then:
      blockStop +
      named({
        type: 'content_block_start',
        index: 1,
        content_block: { type: 'tool_use', id: 'toolu_1', name: 'look', input: {} },
      }) +
      named({
        type: 'content_block_delta',
        index: 1,
        delta: { type: 'input_json_delta', partial_json: '{"at":"the ri' },
      }),
    truth: 'cut',
    millrace: interrupted,
  },
  jsonBody(anthropicError),
]);

// Google Gemini. Its frames end in CRLF.

const geminiFrame = (text: string, more: object = {}): string =>
  `data: ${JSON.stringify({
    candidates: [{ content: { role: 'model', parts: [{ text }] }, index: 0, ...more }],
    usageMetadata: { promptTokenCount: 9, candidatesTokenCount: 7, totalTokenCount: 16 },
    modelVersion: 'any',
    responseId: 'r1',
  })}\r\n\r\n`;
const geminiBegin = geminiFrame(FIRST);
const geminiEnd = geminiFrame(REST, { finishReason: 'STOP' });
const geminiError = { error: { code: 503, message: 'The mill is full', status: 'UNAVAILABLE' } };

const gemini = format(
  'gemini',
  { title: 'Google Gemini', sign: 'a `finishReason`; there is no marker behind it' },
  geminiBegin,
  [
    ...common(geminiFrame(REST), geminiFrame('', { finishReason: 'STOP' })),
    {
      sent: 'a whole answer with `event: message` before each `data:`',
      pieces: [{ bytes: `event: message\r\n${geminiBegin}event: message\r\n${geminiEnd}` }],
      truth: 'whole',
      millrace: complete,
    },
    {
      sent: 'the first half, then an error in a `data:` frame',
      then: `data: ${JSON.stringify(geminiError)}\r\n\r\n`,
      truth: 'failed',
      millrace: failed,
    },
    {
      sent: 'the first half, then a bare JSON error, in a packet of its own',
      then: JSON.stringify(geminiError),
      truth: 'failed',
      // A line without its end is none, as the standard for server-sent events says.
      millrace: interrupted,
    },
    {
      sent: 'the first half and a bare JSON error in one packet',
      pieces: [{ bytes: geminiBegin + JSON.stringify(geminiError) }],
      truth: 'failed',
      // A line without its end is none, as the standard for server-sent events says.
      millrace: interrupted,
    },
    {
      sent: 'the first half, then a bare JSON error over several lines, and a blank line',
      then: `${JSON.stringify(geminiError, null, 2)}\r\n\r\n`,
      truth: 'failed',
      millrace: failed,
    },
    {
      sent: 'the same in one packet',
      pieces: [{ bytes: `${geminiBegin}${JSON.stringify(geminiError, null, 2)}\r\n\r\n` }],
      truth: 'failed',
      millrace: failed,
    },
    jsonBody(geminiError),
  ],
);

// Ollama.

const line = (content: string, more: object = { done: false }): string =>
  `${JSON.stringify({ model: 'any', created_at: '2026-01-01T00:00:00Z', message: { role: 'assistant', content }, ...more })}\n`;
const ollamaEnd = line('', { done: true, done_reason: 'stop', prompt_eval_count: 9, eval_count: 7 });

const ollama = format(
  'ollama',
  { title: 'Ollama', sign: 'a line with `"done":true`' },
  line(FIRST),
  [
    ...common(line(REST), ollamaEnd),
    {
      sent: 'a whole answer without the last line end',
      then: line(REST) + ollamaEnd.trimEnd(),
      truth: 'whole',
      millrace: complete,
    },
    {
      sent: 'the first half, then an error line',
      then: `${JSON.stringify({ error: 'the mill is full' })}\n`,
      truth: 'failed',
      millrace: failed,
    },
    jsonBody({ error: 'the mill is full' }),
  ],
  NDJSON,
);

// The UI message stream of the AI SDK.

const uiBegin =
  data({ type: 'start', messageId: 'm1' }) +
  data({ type: 'start-step' }) +
  data({ type: 'text-start', id: 't1' }) +
  data({ type: 'text-delta', id: 't1', delta: FIRST });
const uiDelta = data({ type: 'text-delta', id: 't1', delta: REST });
const uiTextEnd = data({ type: 'text-end', id: 't1' }) + data({ type: 'finish-step' });
const uiFinish = data({ type: 'finish', finishReason: 'stop' });

const ui = format('ui', { title: 'AI SDK UI message stream', sign: 'a `finish` part, then `data: [DONE]`' }, uiBegin, [
  ...common(uiDelta, uiTextEnd + uiFinish + DONE),
  {
    sent: 'all text and the `finish` part, no `[DONE]`',
    then: uiDelta + uiTextEnd + uiFinish,
    truth: 'open',
    millrace: { ...complete, warnings: ['end-marker-missing'] },
  },
  {
    sent: 'the first half, then `[DONE]`, no `finish` part',
    then: DONE,
    truth: 'cut',
    millrace: interrupted,
  },
  {
    sent: 'the first half, an `error` part, then `[DONE]`',
    then: data({ type: 'error', errorText: 'The mill is full' }) + DONE,
    truth: 'failed',
    millrace: failed,
  },
  {
    sent: 'the first half, an `abort` part, then `[DONE]`',
    then: data({ type: 'abort' }) + DONE,
    truth: 'failed',
    millrace: failed,
  },
  {
    sent: 'the first half, then half the input of a tool call',
    then:
      data({ type: 'text-end', id: 't1' }) +
      data({ type: 'tool-input-start', toolCallId: 'call_1', toolName: 'look' }) +
      data({ type: 'tool-input-delta', toolCallId: 'call_1', inputTextDelta: '{"at":"the ri' }),
    truth: 'cut',
    millrace: interrupted,
  },
  jsonBody({ error: 'the mill is full' }),
]);

/** Every stream that is compared, in the order of the document. Of our own wording. */
export const endingFormats: readonly EndingFormat[] = [chat, responses, anthropic, gemini, ollama, ui];
