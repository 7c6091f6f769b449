import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { detectDialect } from '../../src/providers/detectDialect.js';
import { bytesOf } from '../support/chunks.js';
import { decodeAll, frame } from '../support/decodeAll.js';
import { bodyOf } from '../support/recordings.js';
import { type Recording, recorded, recordings } from '../support/shared.js';
import { variants } from '../support/variants.js';

const all = recordings();

/** The dialect of a recording's format; undefined for formats that have none here. */
function nameOf({ format }: Recording): string | undefined {
  if (format === 'completion') return 'chat';
  return ['anthropic', 'chat', 'cohere', 'gemini', 'replicate', 'responses'].includes(format) ? format : undefined;
}

const VARIANTS: Readonly<Record<string, string>> = {
  'Infernet jobs': 'infernet-jobs',
  'Infernet jobs, asked and streamed in one request': 'infernet-jobs',
  'Infernet native chat': 'infernet-native',
  'Infernet chat completions': 'chat',
  Infron: 'chat',
  'Infron with a tool call': 'chat',
  'inference.sh task as NDJSON': 'inferencesh-task',
  'inference.sh task as server-sent events': 'inferencesh-task',
  'inference.sh agent chat': 'inferencesh-agent',
  Gateway: 'gateway',
  'PolarGrid chat': 'chat',
  'PolarGrid chat with a tool call': 'chat',
  'PolarGrid text completion': 'chat',
  'OpenAI chat': 'chat',
  'OpenAI Responses': 'responses',
  Anthropic: 'anthropic',
  Gemini: 'gemini',
  Ollama: 'ollama',
};

type Data = object | string;

/** Server-sent events without names. */
function events(...frames: readonly Data[]): string {
  return frames.map(frame).join('');
}

/** One server-sent event with a name. */
function named(event: string, data: Data): string {
  return `event: ${event}\n${frame(data)}`;
}

function lines(...frames: readonly Data[]): string {
  return frames.map((each) => (typeof each === 'string' ? `${each}\n` : `${JSON.stringify(each)}\n`)).join('');
}

function detected(capture: string | Uint8Array): string | undefined {
  return detectDialect(capture)?.name;
}

const delta = { choices: [{ index: 0, delta: { content: 'Hi' } }] };
const started = { type: 'message_start', message: { id: 'msg_1', content: [] } };

describe('detectDialect', () => {
  describe.skipIf(all.length === 0)('on recorded streams', () => {
    it.each(all)('tells $file as it was stored, and framed as server-sent events', (recording) => {
      const stored = recorded(recording);
      const name = nameOf(recording);
      const framing = recording.storage === 'raw-sse' ? 'sse' : 'ndjson';
      const found = detectDialect(stored);
      expect(found && { name: found.name, framing: found.framing }).toStrictEqual(name && { name, framing });
      expect(detectDialect(stored.toString())?.name).toBe(name);
      expect(detectDialect(bodyOf(recording))?.name).toBe(name);
    });

    it.each(all)('is never wrong about a part of $file', (recording) => {
      const bytes = recorded(recording).subarray(0, 200_000);
      const right = [undefined, nameOf(recording)];
      for (let size = 0; size <= Math.min(700, bytes.length); size += 1) {
        expect(right, `the first ${String(size)} bytes`).toContain(detected(bytes.subarray(0, size)));
      }
      fc.assert(
        fc.property(fc.nat(bytes.length), fc.nat(8_000), (from, size) => {
          expect(right).toContain(detected(bytes.subarray(from, from + size)));
          expect(right).toContain(detected(bytes.subarray(0, from)));
        }),
        { numRuns: 40 },
      );
    });

    it('finds a dialect that reads what it was found in', () => {
      const told = all.filter((recording) => nameOf(recording) !== undefined);
      for (const recording of told) {
        const found = detectDialect(bodyOf(recording));
        if (found === undefined) throw new Error(`Nothing was found in ${recording.file}`);
        const { text, events: read } = decodeAll(found.dialect, bodyOf(recording));
        expect(text, recording.file).toHaveLength(recording.text_utf16);
        expect(read.some(({ type }) => type !== 'raw' && type !== 'heartbeat')).toBe(true);
      }
    });
  });

  describe.each(variants)('on a stream of $name', ({ name, framing, stream, text }) => {
    const body = stream.frames.join('');
    const expected = VARIANTS[name];

    it('tells it, and finds a dialect that reads it', () => {
      const found = detectDialect(body);
      expect(found).toMatchObject({ name: expected, framing });
      expect(detectDialect(bytesOf(body))?.name).toBe(expected);
      if (found?.dialect.framing === framing) {
        // PolarGrid's thinking stands in the text, and only its provider knows that.
        expect(decodeAll(found.dialect, body).text.endsWith(text)).toBe(true);
      }
    });

    it('is never wrong about its beginning, its end, or its middle', () => {
      const bytes = bytesOf(body);
      for (let size = 0; size <= bytes.length; size += 1) {
        expect([undefined, expected], `the first ${String(size)} bytes`).toContain(detected(bytes.subarray(0, size)));
        expect([undefined, expected], `all but ${String(size)} bytes`).toContain(detected(bytes.subarray(size)));
      }
      fc.assert(
        fc.property(fc.nat(bytes.length), fc.nat(600), (from, size) => {
          expect([undefined, expected]).toContain(detected(bytes.subarray(from, from + size)));
        }),
      );
    });

    it('tells its frames without their framing, where they need no names', () => {
      const bare = [...body.matchAll(/^data: (.*)$/gm)].map(([, data]) => `${data ?? ''}\n`).join('');
      if (framing === 'ndjson') return;
      const needsNames = expected === 'infernet-native' || expected === 'infernet-jobs';
      const found = detectDialect(bare);
      expect(found && { name: found.name, framing: found.framing }).toStrictEqual(
        needsNames ? undefined : { name: expected, framing: 'ndjson' },
      );
    });
  });

  it.each<[string, string | undefined, string]>([
    ['a chunk of a completion', 'chat', events(delta)],
    ['a legacy completion', 'chat', events({ object: 'text_completion', choices: [{ text: 'Hi' }] })],
    ['the first frame of Azure', 'chat', events({ choices: [], object: '', prompt_filter_results: [] })],
    ['choices of something else', undefined, events({ object: 'poll', choices: ['yes', 'no'] })],
    ['a failure beside choices', 'chat', events({ error: { code: 502, message: 'x' }, choices: [] })],
    ['the event of a response', 'responses', events({ type: 'response.created', response: { id: 'r' } })],
    ['an event that is told by its name alone', 'responses', named('response.output_text.delta', { delta: 'Hi' })],
    ['the failure of a response', 'responses', events({ type: 'error', code: 'x', message: 'y', sequence_number: 3 })],
    ['such a failure without a number', 'responses', events({ type: 'error', code: 'x', message: 'y', param: 'z' })],
    ['a frame of the Realtime API', undefined, events({ type: 'response.created', event_id: 'e', response: {} })],
    ['the first event of a message', 'anthropic', events(started)],
    ['an event without a type in its data', 'anthropic', named('message_stop', {})],
    [
      'an overloaded server',
      'anthropic',
      named('error', { type: 'error', error: { type: 'overloaded_error', message: 'x' }, request_id: 'q' }),
    ],
    ['an error in the words of many', undefined, events({ type: 'error', error: { type: 'api_error', code: 5 } })],
    [
      'a failure of a response with an object',
      'responses',
      events({ type: 'error', sequence_number: 2, error: { type: 'server_error', message: 'x' } }),
    ],
    ['a candidate', 'gemini', events({ candidates: [{ content: { parts: [{ text: 'Hi' }] } }] })],
    ['a prompt that was refused', 'gemini', events({ promptFeedback: { blockReason: 'SAFETY' } })],
    ['an unavailable model', 'gemini', events({ error: { code: 503, message: 'x', status: 'UNAVAILABLE' } })],
    ['the candidates of an older API', undefined, events({ candidates: [{ output: 'Hi' }] })],
    ['a line of a chat', 'ollama', lines({ model: 'm', message: { role: 'assistant', content: 'Hi' }, done: false })],
    ['a line of a completion', 'ollama', lines({ model: 'm', response: 'Hi', done: false })],
    ['a line without a model', undefined, lines({ response: 'Hi', done: false })],
    ['an event of a chat', 'cohere', named('content-delta', { type: 'content-delta', index: 0, delta: {} })],
    ['an event of an older chat', undefined, events({ event_type: 'text-generation', text: 'Hi' })],
    ['an output with its id', 'replicate', 'event: output\nid: 1690212292:0\ndata: Once upon\n\n'],
    ['an output whose text is JSON', 'replicate', 'event: output\nid: 1690212292:0\ndata: {"choices":1}\n\n'],
    ['an output with another id', undefined, 'event: output\nid: 7\ndata: Once upon\n\n'],
    ['the first part of a message', 'aiSDK', events({ type: 'start', messageId: 'm1' })],
    ['a part of text', 'aiSDK', events({ type: 'text-delta', id: 't1', delta: 'Hi' })],
    ['the input of a tool', 'aiSDK', events({ type: 'tool-input-delta', toolCallId: 'c', inputTextDelta: '{' })],
    ['the failure of a chat', 'aiSDK', events({ type: 'error', errorText: 'x' })],
    [
      'an item',
      'gateway',
      events({ type: 'text', name: 'output', content: 'Hi', done: false, index: 0, is_final: false }),
    ],
    ['the first event of a run', 'agUI', events({ type: 'RUN_STARTED', threadId: 't', runId: 'r' })],
    ['a piece of a message', 'agUI', events({ type: 'TEXT_MESSAGE_CONTENT', messageId: 'm', delta: 'Hi' })],
    ['an event of nobody', undefined, events({ type: 'RUN_CHANGED', runId: 'r' })],
    ['steps alone', 'aiSDK', events({ type: 'start-step' }, { type: 'data-weather', data: {} })],
    ['a step beside something else', undefined, events({ type: 'start-step' }, { type: 'walk' }, { type: 'walk' })],
    ['the last object', 'gateway', events({ final: true, usage: { input_tokens: 1 } })],
    ['a row of a job', 'infernet-native', named('job', { id: 'j', status: 'assigned', input_spec: {} })],
    ['the end of a job', 'infernet-native', named('done', { text: 'Hi', finished_at: '2026-11-21' })],
    ['two tokens', 'infernet-native', named('token', { text: 'H' }) + named('token', { text: 'i' })],
    ['a token alone', undefined, named('token', { text: 'Hi' })],
    ['a text and an end marker', 'infernet-jobs', events({ text: 'Hi' }, '[DONE]')],
    ['a text alone', undefined, events({ text: 'Hi' })],
    ['texts beside something else', undefined, events({ text: 'Hi' }, { text: 'Ho' }, { score: 1 })],
    ['bare texts, whose events may have had names', undefined, lines({ text: 'Hi' }, { text: 'Ho' }, '[DONE]')],
    ['a task', 'inferencesh-task', lines({ id: 't', status: 2, app_id: 'a', logs: [] })],
    ['an update of a task', 'inferencesh-task', named('update', { id: 't', status: 7, logs: 'x' })],
    ['a part of a task', 'inferencesh-task', lines({ data: { status: 7 }, fields: ['status'] })],
    ['a part of a task or a chat', undefined, lines({ data: { status: 'x' }, fields: ['status'] })],
    ['a state of a chat', 'inferencesh-agent', lines({ event: 'chats', data: { id: 'c' }, fields: [] })],
    [
      'an increment of a message',
      'inferencesh-agent',
      lines({ event: 'delta', data: { delta: { response: 'Hi' }, seq: 1, resource_id: 'm' } }),
    ],
    [
      'an increment of a task or a chat',
      undefined,
      lines({ event: 'delta', data: { delta: { response: 'Hi' }, seq: 1 } }),
    ],
  ])('tells %s: %s', (_, name, capture) => {
    expect(detected(capture)).toBe(name);
  });

  it.each([
    ['nothing', ''],
    ['white space', ' \r\n\n\t'],
    ['comments', ': OPENROUTER PROCESSING\n\n: ping\n\n'],
    ['pings and heartbeats', events({ type: 'ping' }, '[DONE]') + lines({ type: 'heartbeat' })],
    ['the end marker', events('[DONE]')],
    ['an error as many APIs send it', events({ error: { message: 'x', type: 'server_error', code: null } })],
    ['an error in words', lines({ error: 'model not found' })],
    ['a page', '<!doctype html>\n<p>data: {"choices":[]}</p>\n'],
    ['a document of JSON', JSON.stringify({ candidates: [delta] }, undefined, 2)],
    ['a list of JSON', '[{\n"candidates": []\n}\n,\n{"candidates":[{"content":{}}]}\n]'],
    ['frames of two dialects', events(delta, started)],
    ['lines of two dialects', lines(delta, started)],
    ['lines with something else between', lines(delta, 'and then', delta)],
    ['bare values', events('"choices"', '1', 'null', '[{"choices":[]}]')],
  ])('tells nothing from %s', (_, capture) => {
    expect(detectDialect(capture)).toBeUndefined();
    expect(detectDialect(bytesOf(capture))).toBeUndefined();
  });

  it.each([
    ['an HTTP head', 'HTTP/2 200\r\ncontent-type: text/event-stream\r\n\r\n'],
    ['the heads of a redirect', 'HTTP/1.1 307 T\nlocation: /x\n\nHTTP/1.1 200 OK\ncontent-type: text/event-stream\n\n'],
    ['a byte order mark', '\uFEFF'],
    ['blank lines', '\r\n\r\n\n \n'],
    ['comments and a delay', ': hi\n\nretry: 5\n\n'],
    ['the end of another event', '","index":0}]}\n\n'],
    ['errors that any API may send', events({ error: 'x' })],
    ['frames that nobody knows', events({ pg_metadata: {} })],
  ])('looks behind %s', (_, head) => {
    expect(detected(head + events(delta))).toBe('chat');
    expect(detected(bytesOf(head + events(delta)))).toBe('chat');
  });

  it.each([
    ['LF', '\n'],
    ['CRLF', '\r\n'],
    ['CR', '\r'],
  ])('reads lines that end in %s', (_, end) => {
    expect(detectDialect(events(delta, started.message).replaceAll('\n', end))).toMatchObject({
      name: 'chat',
      framing: 'sse',
    });
    expect(detected(named('message_stop', {}).replaceAll('\n', end))).toBe('anthropic');
  });

  it('reads frames without a line end behind them', () => {
    expect(detectDialect(`data:${JSON.stringify(delta)}`)).toMatchObject({ name: 'chat', framing: 'sse' });
    expect(detectDialect(JSON.stringify(delta))).toMatchObject({ name: 'chat', framing: 'ndjson' });
    expect(detectDialect(`${JSON.stringify(delta)}\n{"cho`)).toMatchObject({ name: 'chat', framing: 'ndjson' });
    expect(detectDialect(`ices":[]}\n${JSON.stringify(delta)}`)).toMatchObject({ name: 'chat', framing: 'ndjson' });
  });

  it('does not trust the name of an event that may be cut', () => {
    expect(detected('event: output\nid: 1690212292:0\ndata: Once upon\n\n')).toBe('replicate');
    expect(detected('event: output\nid: 1690212292:0\ndata: Once upon')).toBeUndefined();
    expect(detected(`data: {}\nevent: message_stop`)).toBeUndefined();
  });

  it('reads on behind an event whose beginning is cut off', () => {
    const token = (text: string): string => named('token', { text });
    expect(detected(`ken\n${frame({ text: 'H' })}${token('i')}${token('!')}`)).toBe('infernet-native');
    // Without a sign of the cut the first event is one without a name.
    expect(detected(`${frame({ text: 'H' })}${token('i')}${token('!')}`)).toBeUndefined();
  });

  it('looks at the first 64 frames', () => {
    const many = (count: number): object[] => Array.from({ length: count }, () => delta);
    expect(detected(events(...many(63), started))).toBeUndefined();
    expect(detected(events(...many(64), started))).toBe('chat');
    expect(detected(lines(...many(63), started))).toBeUndefined();
    expect(detected(lines(...many(64), started))).toBe('chat');
  });

  it('looks at the first 1,048,576 bytes', () => {
    const padded = (size: number): string => `:${' '.repeat(size - 2)}\n${events(delta)}`;
    const room = events(delta).length;
    expect(detected(padded(1_048_576 - room))).toBe('chat');
    expect(detected(bytesOf(padded(1_048_576 - room)))).toBe('chat');
    expect(detected(padded(1_048_576))).toBeUndefined();
    expect(detected(bytesOf(padded(1_048_576)))).toBeUndefined();
  });

  it('finds nothing, and throws nothing, in what is no capture', () => {
    const word = fc.constantFrom(
      'data: ',
      'event: ',
      'id: ',
      '\n',
      '\r',
      '{',
      '}',
      '[',
      '"',
      ':',
      'HTTP/1.1 ',
      '[DONE]',
    );
    const text = fc.array(fc.oneof(word, fc.string()), { maxLength: 40 }).map((parts) => parts.join(''));
    fc.assert(
      fc.property(fc.oneof(text, fc.uint8Array({ maxLength: 2_000 })), (capture) => {
        expect(detectDialect(capture)).toBeUndefined();
      }),
      { numRuns: 1_000 },
    );
  });

  it('throws nothing, whatever JSON the frames are', () => {
    const key = fc.constantFrom(
      'choices',
      'type',
      'error',
      'data',
      'event',
      'text',
      'status',
      'candidates',
      '__proto__',
    );
    const value = fc.oneof(fc.jsonValue(), fc.constantFrom('error', 'delta', 'start', 'message_start', 'update', []));
    const object = fc.dictionary(key, fc.oneof(value, fc.dictionary(key, value)));
    fc.assert(
      fc.property(fc.array(object), fc.constantFrom('message', 'error', 'output', 'token', 'delta'), (frames, name) => {
        for (const capture of [lines(...frames), frames.map((each) => named(name, each)).join('')]) {
          const found = detectDialect(capture);
          expect(found === undefined || found.name === found.dialect.name).toBe(true);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('refuses what is neither text nor bytes', () => {
    for (const capture of [undefined, null, 7, {}, [1]]) {
      expect(() => detectDialect(capture as string)).toThrow(TypeError);
    }
  });
});
