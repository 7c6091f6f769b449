import { VirtualTimeScheduler } from 'rxjs';
import { inferenceshChatError } from '../../src/testing/wire/inferenceshChat.js';
import { bytesOf } from './chunks.js';
import {
  type Case,
  chunk,
  contentTypeOf,
  type Expected,
  type FaultRow,
  head,
  layoutOf,
  whole,
  within,
} from './faultPlay.js';
import type { Wire } from './faultServer.js';
import type { FaultGroup } from './faultsTable.js';
import { pass } from './faultsOfConnections.js';
import { type Variant, variants } from './variants.js';

type Made = Omit<Case, 'variant'>;

function row(
  fault: string,
  toCase: (variant: Variant) => Made | undefined,
  those: readonly Variant[] = variants,
): FaultRow {
  return {
    fault,
    cases: () =>
      those.flatMap((variant) => {
        const made = toCase(variant);
        return made === undefined ? [] : [{ variant, ...made }];
      }),
  };
}

const sse = variants.filter(({ framing }) => framing === 'sse');
const complete: Expected = { end: 'complete', connection: 'kept' };
const malformed: Expected = { end: 'ERR_PROTOCOL', isRetryable: false, connection: 'closed' };

/** A frame around data that is no business of any dialect. */
function framed({ framing }: Variant, data: string): string {
  return framing === 'sse' ? `data: ${data}\n\n` : `${data}\n`;
}

/** A body with bytes put in at the place between two events of text. */
function withInside(variant: Variant, bytes: string | Uint8Array): Uint8Array {
  const { body, at } = layoutOf(variant);
  const place = at.get('between events') ?? 0;
  return Buffer.concat([body.subarray(0, place), Buffer.from(bytes), body.subarray(place)]);
}

function answer(variant: Variant, body: string | Uint8Array): (wire: Wire) => Promise<void> {
  return (wire) => wire.send(whole('200 OK', [`content-type: ${contentTypeOf(variant)}`], body));
}

/** What came up to that place must be told. */
const before = (variant: Variant): number => layoutOf(variant).at.get('between events') ?? 0;

function inside(
  fault: string,
  bytes: (variant: Variant) => string,
  expected: Expected,
  those?: readonly Variant[],
): FaultRow {
  return row(
    fault,
    (variant) => ({
      play: answer(variant, withInside(variant, bytes(variant))),
      expected: expected.end === 'complete' ? expected : { ...expected, bytes: before(variant) },
    }),
    those,
  );
}

/** All of an answer written in another way. */
function rewritten(
  fault: string,
  write: (body: string) => string | Uint8Array,
  expected: Expected,
  those?: readonly Variant[],
): FaultRow {
  return row(fault, (variant) => ({ play: answer(variant, write(variant.stream.frames.join(''))), expected }), those);
}

const [{ text }] = variants as readonly [Variant, ...Variant[]];

/** The first of two halves is another one. */
function replaceBytes(body: string, from: string, to: Uint8Array): Uint8Array {
  return Buffer.concat(
    body.split(from).flatMap((part, index) => (index === 0 ? [bytesOf(part)] : [to, bytesOf(part)])),
  );
}

const DEPTH = 1_000;
const HOSTILE =
  '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"type":"__proto__","event":"constructor"}';

const odd: readonly FaultRow[] = [
  rewritten('a NUL inside the JSON of a text', (body) => body.replace('on – ', 'on\0– '), malformed),
  rewritten('a NUL that JSON escapes', (body) => body.replaceAll('on – ', 'on\\u0000– '), {
    ...complete,
    text: text.replace('on – ', 'on\0– '),
  }),
  inside('NULs in a comment', () => ': \0\0\n\n', complete, sse),
  rewritten('bytes that are no UTF-8, inside a text', (body) => replaceBytes(body, '🐎', Buffer.of(0xff, 0xfe)), {
    ...complete,
    text: text.replace('🐎', '\uFFFD\uFFFD'),
  }),
  rewritten('half of a surrogate pair that JSON escapes', (body) => body.replaceAll('🐎', '\\ud83d'), {
    ...complete,
    text: text.replace('🐎', '\ud83d'),
  }),
  inside('JSON that is cut, in a whole frame', (variant) => framed(variant, '{"id":"a1","choices":[{"del'), malformed),
  inside('text that is no JSON', (variant) => framed(variant, 'upstream connect error'), malformed),
  ...['[]', '[{}]', '1', 'null', '"text"', 'true'].map((value) =>
    inside(`JSON that is no object: \`${value}\``, (variant) => framed(variant, value), complete),
  ),
  inside('an empty object', (variant) => framed(variant, '{}'), complete),
  inside(
    'a frame that nobody knows',
    (variant) => framed(variant, '{"type":"mill.turned","event":"mill","turns":7}'),
    complete,
  ),
  inside('an event with a name that nobody knows', () => 'event: mill\ndata: {"turns":7}\n\n', complete, sse),
  inside('a field that the standard does not know', () => 'mill: turns\n\n', complete, sse),
  inside('names that JavaScript gives a meaning', (variant) => framed(variant, HOSTILE), complete),
  inside(
    'the same as name and id of an event',
    () => `event: __proto__\nid: constructor\ndata: ${HOSTILE}\n\n`,
    complete,
    sse,
  ),
  inside(
    `JSON that is ${String(DEPTH)} deep`,
    (variant) => framed(variant, `{"mill":${'['.repeat(DEPTH)}${']'.repeat(DEPTH)}}`),
    complete,
  ),
  inside('empty frames', (variant) => (variant.framing === 'sse' ? 'data\n\ndata:\n\n\n\n\n' : '\n\n  \n'), complete),
  rewritten('the whole stream with CRLF', (body) => body.replaceAll('\r\n', '\n').replaceAll('\n', '\r\n'), complete),
  rewritten('the whole stream with CR', (body) => body.replaceAll('\r\n', '\n').replaceAll('\n', '\r'), complete, sse),
  rewritten('the whole stream behind a byte order mark', (body) => `\uFEFF${body}`, complete),
  row('the whole stream, and all of it once more', (variant) => {
    const { body } = layoutOf(variant);
    // Gemini's streams have no end but HTTP's, and a finish reason may stand in every frame.
    const expected = within(variant, body.length).isOver ? complete : { ...complete, text: text + text };
    return { play: answer(variant, Buffer.concat([body, body])), expected };
  }),
];

// Sizes, with small limits: what counts is that there is one, and what is told.

const LIMIT = 4_096;
const limits = { maxLineBytes: LIMIT, maxEventBytes: 2 * LIMIT };

/** Sends without an end what was begun behind good events. */
function endless(fault: string, start: string, more: string, of: string, those?: readonly Variant[]): FaultRow {
  return row(
    fault,
    (variant) => ({
      options: limits,
      play: async (wire) => {
        const bytes = before(variant);
        await wire.send(head([`content-type: ${contentTypeOf(variant)}`, 'transfer-encoding: chunked']));
        await wire.send(chunk(layoutOf(variant).body.subarray(0, bytes)));
        await wire.send(chunk(start));
        let isOver = false;
        void wire.closed.then(() => (isOver = true));
        while (!isOver) await wire.send(chunk(more));
      },
      expected: { end: 'ERR_LIMIT', of, isRetryable: false, bytes: before(variant), connection: 'closed' },
    }),
    those,
  );
}

const sizes: readonly FaultRow[] = [
  row('a line over its limit', (variant) => ({
    options: limits,
    play: answer(variant, withInside(variant, framed(variant, JSON.stringify('x'.repeat(LIMIT))))),
    expected: {
      end: 'ERR_LIMIT',
      of: 'maxLineBytes',
      isRetryable: false,
      bytes: before(variant),
      connection: 'closed',
    },
  })),
  endless('a line without an end', 'data: {"', 'x'.repeat(512), 'maxLineBytes'),
  endless('a comment without an end', ': ', 'x'.repeat(512), 'maxLineBytes', sse),
  endless('an event without an end', '', `data: ${'x'.repeat(512)}\n`, 'maxEventBytes', sse),
  endless('lines of fields that nobody knows, without an end', '', `x: ${'x'.repeat(512)}\n`, 'maxEventBytes', sse),
  row('comments for ever, with `contentIdleMs`', keepAlive(': keep-alive\n\n'), sse),
  row('blank lines for ever, with `contentIdleMs`', keepAlive('\n')),
  inside('100,000 blank lines', () => '\n'.repeat(100_000), complete),
  inside('10,000 comments', () => ': a\n\n'.repeat(10_000), complete, sse),
];

/** Signs of life that are no content: the connection is alive, and the work is not. */
function keepAlive(sign: string): (variant: Variant) => Made {
  return (variant) => {
    const scheduler = new VirtualTimeScheduler();
    return {
      scheduler,
      options: { timeout: { wireIdleMs: 1_000, contentIdleMs: 10_000 } },
      play: async (wire) => {
        await wire.send(head([`content-type: ${contentTypeOf(variant)}`, 'transfer-encoding: chunked']));
        await wire.send(chunk(layoutOf(variant).body.subarray(0, before(variant))));
        let isOver = false;
        void wire.closed.then(() => (isOver = true));
        for (let i = 0; !isOver && i < 20; i += 1) {
          await wire.send(chunk(sign));
          await wire.settle();
          pass(scheduler, 700);
        }
      },
      expected: {
        end: 'ERR_STREAM_TIMEOUT',
        of: 'contentIdle',
        isRetryable: true,
        bytes: before(variant),
        connection: 'closed',
      },
    };
  };
}

// Failures told inside a stream.

interface InBand {
  readonly shape: string;
  /** Names of variants, or how they begin. */
  readonly of: readonly string[];
  readonly frames: string;
  readonly isRetryable: boolean;
}

const data = (frame: unknown, event?: string): string =>
  `${event === undefined ? '' : `event: ${event}\n`}data: ${JSON.stringify(frame)}\n\n`;
const line = (frame: unknown): string => `${JSON.stringify(frame)}\n`;
const DONE = 'data: [DONE]\n\n';
const message = 'The mill is full';
const turn = { chatId: 'ch1', runId: 'r1', messageId: 'msg_2', toolId: 'ti1' };
const chat = ['Infernet chat', 'Infron', 'PolarGrid', 'OpenAI chat'];
const chatChunk = (choice: object, more: object = {}): unknown => ({
  id: 'a1',
  object: 'chat.completion.chunk',
  created: 1,
  model: 'm',
  choices: [{ index: 0, delta: { content: '' }, ...choice }],
  ...more,
});

const inBand: readonly InBand[] = [
  ...(
    [
      ['node_disconnected', true],
      ['no_capacity', true],
      ['internal_error', true],
      ['rate_limited', true],
      ['timeout', true],
      ['model_not_found', false],
      ['bad_request', false],
    ] as const
  ).map(([error, isRetryable]) => ({
    shape: `\`{"error":"${error}","message"}\``,
    of: ['Infernet jobs'],
    frames: data({ error, message }),
    isRetryable,
  })),
  {
    shape: '`event: error`, `{"message"}`',
    of: ['Infernet native'],
    frames: data({ message }, 'error'),
    isRetryable: false,
  },
  {
    shape: '`event: error`, `{"message","jobId"}`',
    of: ['Infernet native'],
    frames: data({ message: 'job not found', jobId: 'x' }, 'error'),
    isRetryable: false,
  },
  {
    shape: '`{"id","object","error":{"message"}}`, then `[DONE]`',
    of: chat,
    frames: data({ id: 'a1', object: 'chat.completion.chunk', error: { message } }) + DONE,
    isRetryable: false,
  },
  {
    shape: '`{"error":{"code":502,"message"}}`',
    of: chat,
    frames: data({ error: { code: 502, message, type: 'upstream', param: null } }),
    isRetryable: true,
  },
  {
    shape: '`{"error":{"code":"400","message"}}`',
    of: chat,
    frames: data({ error: { code: '400', message } }),
    isRetryable: false,
  },
  {
    shape: '`{"error":{"code":null,"message"}}`',
    of: chat,
    frames: data({ error: { code: null, message } }),
    isRetryable: false,
  },
  { shape: '`{"error":"text"}`', of: [...chat, 'Gateway'], frames: data({ error: message }), isRetryable: false },
  {
    shape: '`{"error":{"message","code":503}}`',
    of: chat,
    frames: data({ error: { message, code: 503 } }),
    isRetryable: true,
  },
  {
    shape: '`{"error":{"message","type":"server_error","param":null,"code":null}}`',
    of: chat,
    frames: data({ error: { message, type: 'server_error', param: null, code: null } }),
    isRetryable: true,
  },
  {
    shape: '`{"error":{"message","type","code":500}}`, then `[DONE]` (vLLM)',
    of: chat,
    frames: data({ error: { message, type: 'InternalServerError', param: null, code: 500 } }) + DONE,
    isRetryable: true,
  },
  {
    shape: '`error` beside `finish_reason: "error"` (OpenRouter), then `[DONE]`',
    of: chat,
    frames: data(chatChunk({ finish_reason: 'error' }, { error: { code: 502, message } })) + DONE,
    isRetryable: true,
  },
  {
    shape: '`error` beside `choices: []` (OpenRouter)',
    of: chat,
    frames: data({ id: 'a1', choices: [], error: { code: 429, message } }),
    isRetryable: true,
  },
  {
    shape: '`finish_reason: "stop"` with `native_finish_reason: "error"` (OpenRouter)',
    of: chat,
    frames: data(chatChunk({ finish_reason: 'stop', native_finish_reason: 'error' })) + DONE,
    isRetryable: true,
  },
  {
    shape: '`finish_reason: "insufficient_system_resource"` (DeepSeek)',
    of: chat,
    frames: data(chatChunk({ finish_reason: 'insufficient_system_resource' })) + DONE,
    isRetryable: true,
  },
  {
    shape: 'a field `error:` (llama.cpp)',
    of: chat,
    frames: `error: ${JSON.stringify({ code: 500, message })}\n\n`,
    isRetryable: true,
  },
  {
    shape: '`event: error` (Groq)',
    of: chat,
    frames: data({ error: { message, type: 'server_error' } }, 'error'),
    isRetryable: true,
  },
  {
    shape: 'status 11 with `error`',
    of: ['inference.sh task as NDJSON'],
    frames: line({ data: { status: 11, error: message }, fields: ['status', 'error'] }),
    isRetryable: false,
  },
  {
    shape: 'status 12',
    of: ['inference.sh task as NDJSON'],
    frames: line({ data: { status: 12 }, fields: ['status'] }),
    isRetryable: false,
  },
  {
    shape: 'a whole task with status 11',
    of: ['inference.sh task as NDJSON'],
    frames: line({ id: 'a1', status: 11, error: message, output: null, logs: [], events: [] }),
    isRetryable: false,
  },
  {
    shape: '`{"event":"error"}`',
    of: ['inference.sh task as NDJSON', 'inference.sh agent chat'],
    frames: line({ event: 'error', data: { message } }),
    isRetryable: false,
  },
  {
    shape: '`event: update` with status 11',
    of: ['inference.sh task as server-sent events'],
    frames: data({ id: 'a1', status: 11, error: message }, 'update'),
    isRetryable: false,
  },
  {
    shape: '`event: error`',
    of: ['inference.sh task as server-sent events'],
    frames: data({ message }, 'error'),
    isRetryable: false,
  },
  {
    shape: '`event: error` with text that is no JSON',
    of: ['inference.sh task as server-sent events', 'Infernet native', 'OpenAI chat', 'Anthropic', 'Gateway'],
    frames: `event: error\ndata: ${message}\n\n`,
    isRetryable: false,
  },
  {
    shape: 'the message and the run have failed',
    of: ['inference.sh agent chat'],
    frames: inferenceshChatError({ code: 'x', message }, turn, 'ndjson').join(''),
    isRetryable: false,
  },
  { shape: '`{"error":{"message"}}`', of: ['Gateway'], frames: data({ error: { message } }), isRetryable: false },
  { shape: '`{"detail":"text"}`', of: ['Gateway'], frames: data({ detail: message }), isRetryable: false },
  {
    shape: '`{"detail":[{"loc","msg","type"}]}`',
    of: ['Gateway'],
    frames: data({ detail: [{ loc: ['body'], msg: message, type: 'value_error' }] }),
    isRetryable: false,
  },
  {
    shape: '`{"type":"error","content"}`',
    of: ['Gateway'],
    frames: data({ type: 'error', content: message }),
    isRetryable: false,
  },
  {
    shape: '`event: error`, `{"type":"error","code","message"}`',
    of: ['OpenAI Responses'],
    frames: data({ type: 'error', code: 'server_error', message, param: null, sequence_number: 99 }, 'error'),
    isRetryable: true,
  },
  {
    shape: '`response.failed`',
    of: ['OpenAI Responses'],
    frames: data(
      {
        type: 'response.failed',
        sequence_number: 99,
        response: { id: 'a1', status: 'failed', error: { code: 'server_error', message }, output: [] },
      },
      'response.failed',
    ),
    isRetryable: true,
  },
  ...(
    ['overloaded_error', 'api_error', 'rate_limit_error', 'invalid_request_error', 'authentication_error'] as const
  ).map((type) => ({
    shape: `\`event: error\` with \`${type}\``,
    of: ['Anthropic'],
    frames: data({ type: 'error', error: { type, message }, request_id: 'req_1' }, 'error'),
    isRetryable: ['overloaded_error', 'api_error', 'rate_limit_error'].includes(type),
  })),
  {
    shape: 'the same without a name',
    of: ['Anthropic'],
    frames: data({ type: 'error', error: { type: 'overloaded_error', message } }),
    isRetryable: true,
  },
  {
    shape: '`{"error":{"code":503,"message","status":"UNAVAILABLE"}}`',
    of: ['Gemini'],
    frames: data({ error: { code: 503, message, status: 'UNAVAILABLE' } }),
    isRetryable: true,
  },
  {
    shape: 'the same without `data:`',
    of: ['Gemini'],
    frames: `${JSON.stringify({ error: { code: 503, message, status: 'UNAVAILABLE' } })}\n\n`,
    isRetryable: true,
  },
  {
    shape: '`{"error":{"code":400,"message","status":"INVALID_ARGUMENT"}}`',
    of: ['Gemini'],
    frames: data({ error: { code: 400, message, status: 'INVALID_ARGUMENT' } }),
    isRetryable: false,
  },
  {
    shape: '`{"error":"text"}` alone on its line',
    of: ['Ollama'],
    frames: line({ error: message }),
    isRetryable: false,
  },
];

/** Where a failure is told: nothing came before, or half of the text, or what proves the answer. */
export const inBandPlaces = ['at once', 'inside the answer', 'behind the proof'] as const;

/** Failures in the providers' words; a row for each place. */
export const faultsInBand: readonly FaultRow[] = inBand.flatMap(({ shape, of, frames, isRetryable }) =>
  inBandPlaces.map((place) => ({
    fault: `${shape}, ${place}`,
    cases: () =>
      variants
        .filter(({ name }) => of.some((start) => name.startsWith(start)))
        .map((variant) => {
          const { body, at, proven } = layoutOf(variant);
          const bytes = {
            'at once': 0,
            'inside the answer': at.get('between events') ?? 0,
            'behind the proof': proven,
          }[place];
          const sent = Buffer.concat([body.subarray(0, bytes), Buffer.from(frames)]);
          const expected: Expected = within(variant, bytes).isOver
            ? { end: 'complete', connection: 'kept' }
            : { end: 'ERR_PROVIDER', isRetryable, bytes, connection: 'closed' };
          return { variant, play: answer(variant, sent), expected };
        }),
  })),
);

/** What the bytes of a stream that HTTP delivers well can be. */
export const faultsOfContent: readonly FaultGroup[] = [
  { title: 'Frames', rows: odd },
  { title: 'Sizes', rows: sizes },
];
