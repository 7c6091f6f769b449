import { createHash } from 'node:crypto';
import { from, lastValueFrom } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { InterruptedError } from '../../src/errors.js';
import { accumulate } from '../../src/operators/accumulate.js';
import { decode } from '../../src/operators/decode.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import { anthropicDialect } from '../../src/providers/anthropicDialect.js';
import type { AnthropicBlock, AnthropicTurn } from '../../src/providers/anthropicTurn.js';
import type { StreamEvent } from '../../src/types.js';
import { bytesOf, chunksOf } from '../support/chunks.js';
import { decodeAll, type Decoded, ofType } from '../support/decodeAll.js';
import { recorded, type Recording, recordings } from '../support/shared.js';

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const EMPTY = sha256('');
const all = recordings('anthropic');

/** A recording as a server sends it, with the events' names or without. */
function bodyOf(recording: Recording, names: 'named' | 'unnamed' = 'named'): Buffer {
  const bytes = recorded(recording);
  const text = bytes.toString();
  if (recording.storage === 'raw-sse') {
    return names === 'named' ? bytes : Buffer.from(text.replace(/^event: .*\n/gm, ''));
  }
  const lines = text.split('\n').filter((line) => line !== '');
  const nameOf = (line: string): string => (JSON.parse(line) as { type: string }).type;
  return Buffer.from(
    lines.map((line) => `${names === 'named' ? `event: ${nameOf(line)}\n` : ''}data: ${line}\n\n`).join(''),
  );
}

function facts({ text, thinking, toolArguments, outcome }: Decoded): object {
  return { text: sha256(text), thinking: sha256(thinking), toolArguments: sha256(toolArguments), outcome };
}

function factsOf(recording: Recording): object {
  return {
    text: recording.text_sha256,
    thinking: recording.reasoning_sha256 ?? EMPTY,
    toolArguments: recording.tool_args_sha256 ?? EMPTY,
    outcome: recording.outcome,
  };
}

function framesOf(recording: Recording): Record<string, unknown>[] {
  return bodyOf(recording, 'unnamed')
    .toString()
    .split('\n\n')
    .filter((block) => block.trim() !== '')
    .map((block) => JSON.parse(block.trimStart().slice('data: '.length)) as Record<string, unknown>);
}

/** What Anthropic's API holds of a message that was streamed to it frame by frame, after its last beginning. */
function blocksSent(recording: Recording): Record<string, unknown>[] {
  const frames = framesOf(recording);
  const begin = frames.findLastIndex(({ type }) => type === 'message_start');
  const blocks: Record<string, unknown>[] = [];
  for (const { type, index, content_block, delta } of frames.slice(begin) as {
    type: string;
    index: number;
    content_block: Record<string, unknown>;
    delta: Record<string, string>;
  }[]) {
    if (type === 'content_block_start') blocks[index] = { ...content_block, json: '' };
    const block = blocks[index];
    if (type !== 'content_block_delta' || block === undefined) continue;
    for (const key of ['text', 'thinking', 'signature']) {
      if (delta[key] !== undefined) block[key] = `${(block[key] as string | undefined) ?? ''}${delta[key]}`;
    }
    if (delta['partial_json'] !== undefined) block['json'] = `${block['json'] as string}${delta['partial_json']}`;
    if (delta['citation'] !== undefined) block['citations'] = [...(block['citations'] as unknown[]), delta['citation']];
  }
  return blocks;
}

async function turnOf(body: Uint8Array): Promise<AnthropicTurn> {
  const dialect = anthropicDialect();
  const message = await lastValueFrom(
    from(chunksOf(body, 97)).pipe(parseSSE(), decode(dialect), accumulate({ dialect })),
  );
  return message.toRequest();
}

if (all.length === 0) {
  it('has no recordings beside the project, and skips them', () => {
    expect(all).toHaveLength(0);
  });
} else {
  it('finds the recordings of the format', () => {
    expect(all.length).toBeGreaterThanOrEqual(12);
  });

  describe.each(all)('$file', (recording) => {
    const body = bodyOf(recording);
    const whole = decodeAll(anthropicDialect(), body);

    it('gives the recorded text, thinking, tool arguments and outcome', () => {
      expect(facts(whole)).toStrictEqual(factsOf(recording));
      expect(whole.events.at(-1)?.type).toBe('finish');
    });

    it('gives the same without the names of the events, but for those on raw frames', () => {
      const unnamed = decodeAll(anthropicDialect(), bodyOf(recording, 'unnamed'));
      const nameless = whole.events.map((event) =>
        event.type === 'raw' ? { type: 'raw', frame: event.frame } : event,
      );
      expect(unnamed.events).toStrictEqual(nameless);
    });

    it('gives the same with other line ends', () => {
      for (const end of ['\r\n', '\r']) {
        const other = Buffer.from(body.toString().replaceAll('\n', end));
        expect(decodeAll(anthropicDialect(), other).events).toStrictEqual(whole.events);
      }
    });

    it('gives the same events however its bytes are cut', () => {
      const expected = JSON.stringify(whole.events);
      let seed = 11;
      for (const most of [1, 3, 70, 1500]) {
        const cuts: number[] = [];
        for (let at = 0; at < body.length;) {
          seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
          at += 1 + (seed % most);
          if (at < body.length) cuts.push(at);
        }
        expect(JSON.stringify(decodeAll(anthropicDialect(), body, { cuts }).events)).toBe(expected);
      }
    });

    it('is never complete before its proof, and always from there on', () => {
      const proof = body.lastIndexOf('message_stop"');
      const end = body.indexOf('\n\n', proof) + 2;
      const borders = [...body.toString('latin1').matchAll(/\n\n/g)].map(({ index }) => index + 2);
      let seed = 5;
      const chances = Array.from({ length: 60 }, () => (seed = (seed * 48_271) % 2_147_483_647) % body.length);
      for (const size of [0, ...borders, ...chances, end - 1, end, body.length]) {
        const { outcome } = decodeAll(anthropicDialect(), body.subarray(0, size), { intact: true });
        expect([size, outcome]).toStrictEqual([size, size >= end ? 'complete' : 'interrupted']);
      }
    });

    it('accounts for every frame', () => {
      const decoder = anthropicDialect().decoder();
      for (const frame of framesOf(recording)) {
        const events: StreamEvent[] = [];
        decoder.push({ type: 'event', event: 'message', data: JSON.stringify(frame), id: '' }, (event) => {
          events.push(event);
        });
        expect([frame['type'], events.length]).not.toStrictEqual([frame['type'], 0]);
      }
    });

    it('gives the message back in the blocks in which it came, byte for byte', async () => {
      const expected = blocksSent(recording)
        .filter(({ type, text, json }) => !(type === 'text' && text === '') && isJSON(json))
        .map(({ json, citations, ...block }) => {
          const cited = Array.isArray(citations) && citations.length > 0 ? { citations: citations as unknown[] } : {};
          return { ...block, ...cited, ...(json === '' ? {} : { input: JSON.parse(json as string) as unknown }) };
        });
      const turn = await turnOf(body);
      expect(turn).toStrictEqual({ role: 'assistant', content: expected });
      expect(complaints(turn)).toStrictEqual([]);
    });

    it('gives back what came of it and is whole, where it was cut', async () => {
      const { content } = await turnOf(body);
      for (const size of [0.2, 0.5, 0.8, 0.95].map((part) => Math.floor(body.length * part))) {
        const dialect = anthropicDialect();
        const messages: { toRequest: () => AnthropicTurn }[] = [];
        const failure = await new Promise((resolve) => {
          from(chunksOf(body.subarray(0, size), 512))
            .pipe(parseSSE(), decode(dialect), accumulate({ dialect }))
            .subscribe({ next: (message) => messages.push(message), error: resolve });
        });
        expect(failure).toBeInstanceOf(InterruptedError);
        const turn = messages.at(-1)?.toRequest();
        if (turn === undefined) continue;
        expect(complaints(turn)).toStrictEqual([]);
        if (!recording.file.includes('spliced')) {
          const kinds = content.map(({ type }) => type).join();
          const last = turn.content.at(-1);
          expect(last === undefined || kinds.includes(last.type)).toBe(true);
        }
      }
    });
  });

  const fileOf = (name: string): Buffer => {
    const recording = all.find(({ file }) => file.endsWith(name));
    return recording === undefined ? Buffer.alloc(0) : bodyOf(recording);
  };

  it('makes no call of arguments that were cut', () => {
    const decoded = decodeAll(anthropicDialect(), fileOf('tool-use-partial-json.sse'));
    expect(ofType(decoded, 'tool-call')).toStrictEqual([]);
    expect(ofType(decoded, 'warning')).toMatchObject([{ code: 'tool-call-incomplete', detail: { name: 'make_file' } }]);
    expect(decoded.events.at(-1)).toStrictEqual({ type: 'finish', reason: 'length', rawReason: 'max_tokens' });
  });

  it('tells once that a message began anew, and keeps nothing of its first half', async () => {
    const body = fileOf('spliced-message-start.jsonl');
    const { events } = decodeAll(anthropicDialect(), body);
    expect(events.filter(({ type }) => type === 'restart')).toHaveLength(1);
    const dialect = anthropicDialect();
    const message = await lastValueFrom(
      from([bytesOf(body.toString())]).pipe(parseSSE(), decode(dialect), accumulate({ dialect })),
    );
    expect(message).toMatchObject({
      thinking: 'Let me call the tool.',
      restarts: 1,
      toolCallPreviews: [],
      toolCalls: [{ id: 'toolu_second', arguments: { value: 'Sparkle Day' } }],
      usage: { inputTokens: 17, outputTokens: 65 },
    });
    expect(JSON.stringify([message, message.toRequest()])).not.toMatch(/first/);
  });

  it('marks what the provider ran itself', () => {
    const decoded = decodeAll(anthropicDialect(), fileOf('code-execution.jsonl'));
    const calls = ofType(decoded, 'tool-call');
    expect(calls.map(({ name }) => name)).toStrictEqual(['text_editor_code_execution', 'bash_code_execution']);
    expect([...calls, ...ofType(decoded, 'tool-call-delta')].every((call) => call.providerExecuted === true)).toBe(
      true,
    );
  });
}

function isJSON(text: unknown): boolean {
  if (text === '') return true;
  try {
    return typeof JSON.parse(text as string) === 'object';
  } catch {
    return false;
  }
}

/** What the API would refuse of a turn that is followed by another. */
function complaints({ content }: AnthropicTurn): string[] {
  const texts = content.filter(({ type }) => type === 'text');
  const isBad = ({ type, text, thinking, signature, data, input, id }: AnthropicBlock): boolean => {
    switch (type) {
      case 'text':
        return typeof text !== 'string' || text === '';
      case 'thinking':
        return typeof thinking !== 'string' || typeof signature !== 'string' || signature === '';
      case 'redacted_thinking':
        return typeof data !== 'string' || data === '';
      case 'tool_use':
      case 'server_tool_use':
      case 'mcp_tool_use':
        return typeof id !== 'string' || typeof input !== 'object' || input === null;
      default:
        return false;
    }
  };
  const found = content.filter(isBad).map(({ type }) => `bad ${type}`);
  if (texts.length > 0 && texts.every(({ text }) => String(text).trim() === '')) found.push('only white space');
  const answered = content.map((block) => block['tool_use_id']);
  const lost = content.filter(({ type, id }) => /^(server|mcp)_tool_use$/.test(type) && !answered.includes(id));
  return [...found, ...lost.map(({ type }) => `${type} without its result`)];
}
