import { readFileSync } from 'node:fs';
import Anthropic from '@anthropic-ai/sdk';
import { GoogleGenAI } from '@google/genai';
import { DefaultChatTransport, readUIMessageStream, type UIMessage } from 'ai';
import { Ollama } from 'ollama';
import OpenAI from 'openai';

/** The wire formats that have an official client. */
export type WireFormat = 'chat' | 'completion' | 'responses' | 'anthropic' | 'gemini' | 'ollama' | 'ui';

/** Told all the text that a client has given so far, each time it gives more. */
export type OnText = (text: string) => void;

/** What a client gave where it reported success. */
export interface Answer {
  readonly text: string;
  /** What in the result itself, besides a finish reason that is not there, tells that it is not whole. */
  readonly sign?: string | undefined;
}

/** A provider's own client, as its documentation has it used. */
export interface OfficialClient {
  /** The function that reads the stream, as it stands in the table. */
  readonly name: string;
  readonly packageName: string;
  readonly format: WireFormat;
  /** Asks once; resolves where the client reports success, rejects with its error where it does not. */
  readonly ask: (url: string, onText: OnText) => Promise<Answer>;
}

const model = 'any';
const question = 'What does the wheel do?';
const messages = [{ role: 'user' as const, content: question }];

const openai = (url: string): OpenAI =>
  new OpenAI({ apiKey: 'any', baseURL: `${url}/v1`, maxRetries: 0, logLevel: 'off' });
const anthropic = (url: string): Anthropic =>
  new Anthropic({ apiKey: 'any', baseURL: url, maxRetries: 0, logLevel: 'off' });

export const officialClients: readonly OfficialClient[] = [
  {
    name: 'chat.completions.create',
    packageName: 'openai',
    format: 'chat',
    ask: async (url, onText) => {
      const stream = await openai(url).chat.completions.create({ model, messages, stream: true });
      return gather(stream, onText, ({ choices }) => plain(choices.find(({ index }) => index === 0)?.delta.content));
    },
  },
  {
    name: 'chat.completions.stream',
    packageName: 'openai',
    format: 'chat',
    ask: async (url, onText) => {
      const stream = openai(url).chat.completions.stream({ model, messages });
      stream.on('content', (_delta, snapshot) => {
        onText(snapshot);
      });
      const { choices } = await stream.finalChatCompletion();
      return { text: choices.find(({ index }) => index === 0)?.message.content ?? '' };
    },
  },
  {
    name: 'completions.create',
    packageName: 'openai',
    format: 'completion',
    ask: async (url, onText) => {
      const stream = await openai(url).completions.create({ model, prompt: question, stream: true });
      return gather(stream, onText, ({ choices }) => choices.find(({ index }) => index === 0)?.text);
    },
  },
  {
    name: 'responses.create',
    packageName: 'openai',
    format: 'responses',
    ask: async (url, onText) => {
      const stream = await openai(url).responses.create({ model, input: question, stream: true });
      let last: string | undefined;
      const { text } = await gather(stream, onText, (event) => {
        last = event.type;
        return event.type === 'response.output_text.delta' ? event.delta : undefined;
      });
      return { text, sign: last === 'error' || last === 'response.failed' ? `event \`${last}\`` : undefined };
    },
  },
  {
    name: 'responses.stream',
    packageName: 'openai',
    format: 'responses',
    ask: async (url, onText) => {
      const stream = openai(url).responses.stream({ model, input: question });
      let text = '';
      stream.on('response.output_text.delta', ({ delta }) => {
        onText((text += delta));
      });
      const { status = 'unknown' } = await stream.finalResponse();
      return { text, sign: status === 'completed' ? undefined : `status \`${status}\`` };
    },
  },
  {
    name: 'messages.create',
    packageName: '@anthropic-ai/sdk',
    format: 'anthropic',
    ask: async (url, onText) => {
      const stream = await anthropic(url).messages.create({ model, messages, max_tokens: 64, stream: true });
      return gather(stream, onText, (event) =>
        event.type === 'content_block_delta' && event.delta.type === 'text_delta' ? event.delta.text : undefined,
      );
    },
  },
  {
    name: 'messages.stream',
    packageName: '@anthropic-ai/sdk',
    format: 'anthropic',
    ask: async (url, onText) => {
      const stream = anthropic(url).messages.stream({ model, messages, max_tokens: 64 });
      let text = '';
      stream.on('text', (delta) => {
        onText((text += delta));
      });
      const { content } = await stream.finalMessage();
      return { text: content.map((block) => (block.type === 'text' ? block.text : '')).join('') };
    },
  },
  {
    name: 'models.generateContentStream',
    packageName: '@google/genai',
    format: 'gemini',
    ask: async (url, onText) => {
      const client = new GoogleGenAI({ apiKey: 'any', httpOptions: { baseUrl: url } });
      const stream = await client.models.generateContentStream({ model, contents: question });
      // Not through `text`, which prints a warning about parts that are no text.
      return gather(stream, onText, ({ candidates }) =>
        (candidates?.[0]?.content?.parts ?? [])
          .map(({ text, thought }) => (thought === true ? '' : (text ?? '')))
          .join(''),
      );
    },
  },
  {
    name: 'chat',
    packageName: 'ollama',
    format: 'ollama',
    ask: async (url, onText) => {
      const stream = await new Ollama({ host: url }).chat({ model, messages, stream: true });
      return gather(stream, onText, ({ message }) => message.content);
    },
  },
  {
    name: 'readUIMessageStream',
    packageName: 'ai',
    format: 'ui',
    ask: async (url, onText) => {
      const stream = await new DefaultChatTransport({ api: `${url}/api/chat` }).sendMessages({
        trigger: 'submit-message',
        chatId: 'any',
        messageId: undefined,
        messages: [{ id: 'question', role: 'user', parts: [{ type: 'text', text: question }] }],
        abortSignal: undefined,
      });
      const errors: unknown[] = [];
      const snapshots = readUIMessageStream<UIMessage>({
        stream,
        onError: (error) => {
          errors.push(error);
        },
      });
      let text = '';
      let states: readonly unknown[] = [];
      for await (const { parts } of snapshots) {
        text = parts.map((part) => (part.type === 'text' ? part.text : '')).join('');
        states = parts.map((part) => ('state' in part ? part.state : undefined));
        onText(text);
      }
      if (errors.length > 0) throw errors[0];
      const open = states.find((state) => state === 'streaming' || state === 'input-streaming');
      return { text, sign: open === undefined ? undefined : `a part \`${String(open)}\`` };
    },
  },
];

/** The version that is installed. */
export function versionOf(packageName: string): string {
  const manifest = new URL(`../../node_modules/${packageName}/package.json`, import.meta.url);
  return (JSON.parse(readFileSync(manifest, 'utf8')) as { readonly version: string }).version;
}

async function gather<T>(
  stream: AsyncIterable<T>,
  onText: OnText,
  textOf: (frame: T) => string | null | undefined,
): Promise<Answer> {
  let text = '';
  for await (const frame of stream) {
    const piece = textOf(frame) ?? '';
    if (piece !== '') onText((text += piece));
  }
  return { text };
}

/** Text that a server other than OpenAI's may send as a list of parts, which the client hands on as it is. */
function plain(content: unknown): string {
  if (!Array.isArray(content)) return typeof content === 'string' ? content : '';
  return content.map((part: { readonly text?: unknown }) => (typeof part.text === 'string' ? part.text : '')).join('');
}
