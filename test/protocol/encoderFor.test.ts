import { createHash } from 'node:crypto';
import { DefaultChatTransport, readUIMessageStream, type UIMessage } from 'ai';
import OpenAI from 'openai';
import { describe, expect, it } from 'vitest';
import type { ResponseFormat } from '../../src/protocol/eventFormat.js';
import { millrace } from '../../src/providers/index.js';
import type { StreamEvent } from '../../src/types.js';
import { decodeAll, type Decoded } from '../support/decodeAll.js';
import { encodeAll, encodeAsSink, FAILURE, newEncoder, serveBody } from '../support/encoded.js';
import { bodyOf, dialects } from '../support/recordings.js';
import { recordings } from '../support/shared.js';

const sha256 = (value: string): string => createHash('sha256').update(value).digest('hex');
const all = recordings();

/** What a sink is given of a recording, once. */
function sourceOf(recording: (typeof all)[number]): Decoded {
  const dialect = dialects[recording.format];
  if (dialect === undefined) throw new Error(`no dialect for ${recording.format}`);
  return decodeAll(dialect, bodyOf(recording), { intact: true });
}

/** The text that readers of one answer are shown: that of the first output, after the last restart. */
function textOf(all: readonly StreamEvent[]): string {
  const events = all.slice(all.findLastIndex(({ type }) => type === 'restart') + 1);
  const isText = (event: StreamEvent): event is Extract<StreamEvent, { type: 'text' }> =>
    event.type === 'text' && event.alternative !== true;
  const texts = events.filter(isText);
  return texts
    .map((event) => (event.name === texts[0]?.name && event.index === texts[0].index ? event.text : ''))
    .join('');
}

/** What each format's own reader gets, over a socket: the text, and whether it was told that the answer is whole. */
const readers: Readonly<
  Record<ResponseFormat, (url: string) => Promise<{ readonly text: string; readonly isWhole: boolean }>>
> = {
  millrace: async (at) => {
    const told = decodeAll(millrace, new Uint8Array(await (await fetch(at)).arrayBuffer()));
    return { text: textOf(told.events), isWhole: told.outcome === 'complete' };
  },
  openai: async (at) => {
    const client = new OpenAI({ apiKey: 'any', baseURL: at, maxRetries: 0, logLevel: 'off' });
    const request = { model: 'm', messages: [{ role: 'user' as const, content: 'Why?' }], stream: true as const };
    let text = '';
    try {
      for await (const { choices } of await client.chat.completions.create(request)) {
        text += choices.find(({ index }) => index === 0)?.delta.content ?? '';
      }
      return { text, isWhole: true };
    } catch {
      return { text, isWhole: false };
    }
  },
  'ai-sdk': async (at) => {
    const stream = await new DefaultChatTransport({ api: at }).sendMessages({
      trigger: 'submit-message',
      chatId: 'chat',
      messageId: undefined,
      messages: [{ id: 'q', role: 'user', parts: [{ type: 'text', text: 'Why?' }] }],
      abortSignal: undefined,
    });
    let isWhole = true;
    let message: UIMessage | undefined;
    const onError = (): void => {
      isWhole = false;
    };
    for await (const snapshot of readUIMessageStream({ stream, onError })) message = snapshot;
    const texts = (message?.parts ?? []).filter((part) => part.type === 'text');
    const plain = texts.filter(({ providerMetadata }) => providerMetadata?.['millrace']?.['refusal'] !== true);
    return { text: plain.map((part) => part.text).join(''), isWhole };
  },
  text: async (at) => {
    let text = '';
    try {
      const { body } = await fetch(at);
      const decoder = new TextDecoder();
      for await (const chunk of body ?? []) text += decoder.decode(chunk, { stream: true });
      return { text, isWhole: true };
    } catch {
      return { text, isWhole: false };
    }
  },
};
const formats = Object.keys(readers) as ResponseFormat[];

it('finds the recordings, or skips them where the folder is not there', () => {
  expect(all.length === 0 || all.length >= 60).toBe(true);
});

describe.each(all)('$file', (recording) => {
  const source = sourceOf(recording);
  const ending = source.outcome === 'complete' ? 'complete' : FAILURE;

  it.each(formats)('arrives whole as %s, or is told to have failed', async (format) => {
    const { pieces, told, isWhole } = encodeAsSink(format, source.events, ending);
    const url = await serveBody(newEncoder(format), pieces, { cut: format === 'text' && !isWhole });
    const read = await readers[format](url);
    expect(sha256(read.text)).toBe(sha256(textOf(told)));
    expect(read.isWhole).toBe(isWhole);
  });

  it('is read back from millrace’s own format as the very same events', () => {
    const options = { ending, events: { raw: true, log: true, cost: true } } as const;
    const told = decodeAll(millrace, encodeAll('millrace', source.events, options).join(''));
    // Some server reports a probability of -0, which JSON can read and not write.
    expect(told.events).toStrictEqual(source.events.map((event) => JSON.parse(JSON.stringify(event)) as unknown));
    expect(told.outcome).toBe(source.outcome);
  });

  it('grows by an envelope for each event, and no more', () => {
    const most = source.events.reduce((sum, event) => sum + JSON.stringify(event).length + 200, 2000);
    for (const format of formats) {
      expect(encodeAsSink(format, source.events, ending).pieces.join('').length).toBeLessThan(most);
    }
  });
});
