import {
  agUI,
  aiSDK,
  anthropic,
  cohere,
  gateway,
  gemini,
  inferencesh,
  infernet,
  infron,
  ollama,
  openai,
  openaiCompatible,
  polargrid,
  provider,
  type ProviderOptions,
  replicate,
} from '../../src/providers/index.js';
import { chatDialect } from '../../src/providers/chatDialect.js';
import type { Call } from '../../src/protocol/call.js';

/** What is asked in tests that look for it. */
export const SECRET_PROMPT = 'prompt-secret-4711 where does the river go at night';

/** One adapter, asked for `SECRET_PROMPT`. */
export interface SecretAsk {
  readonly name: string;
  /** The header that takes the key. */
  readonly header: string;
  readonly ask: (options: ProviderOptions & { readonly baseURL: string }) => Call;
  /** Work that exists, where that can be attached to. */
  readonly attach?: (options: ProviderOptions & { readonly baseURL: string }, id: string) => Call;
}

const messages = [{ role: 'user', content: SECRET_PROMPT }] as const;
const chat = { model: 'm', messages };

/** Every adapter of the package, in every way that makes requests of its own. */
export const secretAsks: readonly SecretAsk[] = [
  {
    name: 'infernet.chat',
    header: 'authorization',
    ask: (options) => infernet(options).chat(chat),
    attach: (options, id) => infernet(options).attach(id),
  },
  { name: 'infernet.direct', header: 'authorization', ask: (options) => infernet(options).direct(chat) },
  {
    name: 'infernet.native',
    header: 'authorization',
    ask: ({ baseURL, ...options }) => infernet({ ...options, originURL: baseURL }).native({ messages }),
    attach: ({ baseURL, ...options }, id) => infernet({ ...options, originURL: baseURL }).attachNative(id),
  },
  {
    name: 'infernet.openai',
    header: 'authorization',
    ask: ({ baseURL, ...options }) => infernet({ ...options, originURL: baseURL }).openai(chat),
  },
  { name: 'infron.chat', header: 'authorization', ask: (options) => infron(options).chat(chat) },
  {
    name: 'inferencesh.run',
    header: 'authorization',
    ask: (options) => inferencesh(options).run({ app: 'a/b', input: { prompt: SECRET_PROMPT } }),
    attach: (options, id) => inferencesh(options).attach(id),
  },
  {
    name: 'inferencesh.agent',
    header: 'authorization',
    ask: (options) => inferencesh(options).agent({ agent: 'a/b@1', input: SECRET_PROMPT }),
    attach: (options, id) => inferencesh(options).attachChat(id),
  },
  {
    name: 'gateway.chat',
    header: 'x-api-key',
    ask: (options) => gateway(options).chat({ service_name: 's', model_name: 'm', input: SECRET_PROMPT }),
  },
  { name: 'polargrid.chat', header: 'authorization', ask: (options) => polargrid(options).chat(chat) },
  {
    name: 'polargrid.completion',
    header: 'authorization',
    ask: (options) => polargrid(options).completion({ model: 'm', prompt: SECRET_PROMPT }),
  },
  { name: 'openai.chat', header: 'authorization', ask: (options) => openai(options).chat(chat) },
  {
    name: 'openai.responses',
    header: 'authorization',
    ask: (options) => openai(options).responses({ model: 'm', input: SECRET_PROMPT }),
    attach: (options, id) => openai(options).attachResponse(id),
  },
  {
    name: 'openaiCompatible.chat of azure',
    header: 'api-key',
    ask: (options) => openaiCompatible({ preset: 'azure', ...options }).chat(chat),
  },
  { name: 'ollama.chat', header: 'authorization', ask: (options) => ollama(options).chat(chat) },
  {
    name: 'anthropic.messages',
    header: 'x-api-key',
    ask: (options) => anthropic(options).messages({ ...chat, max_tokens: 100 }),
  },
  {
    name: 'gemini.generateContent',
    header: 'x-goog-api-key',
    ask: (options) => gemini(options).generateContent({ model: 'm', contents: SECRET_PROMPT }),
  },
  {
    name: 'gemini.generateContent with a token',
    header: 'authorization',
    ask: ({ apiKey, ...options }) =>
      gemini({ ...options, accessToken: apiKey ?? undefined }).generateContent({ model: 'm', contents: SECRET_PROMPT }),
  },
  { name: 'cohere.chat', header: 'authorization', ask: (options) => cohere(options).chat(chat) },
  {
    name: 'replicate.run',
    header: 'authorization',
    ask: (options) => replicate(options).run({ model: 'a/b', input: { prompt: SECRET_PROMPT } }),
  },
  {
    name: 'agUI.run',
    header: 'authorization',
    ask: ({ baseURL, ...options }) =>
      agUI({ ...options, url: baseURL }).run({
        threadId: 't',
        runId: 'r',
        messages: [{ id: 'm', role: 'user', content: SECRET_PROMPT }],
      }),
  },
  {
    name: 'aiSDK.chat',
    header: 'authorization',
    ask: ({ baseURL, ...options }) =>
      aiSDK({ ...options, api: baseURL }).chat({
        id: 'c',
        messages: [{ id: 'm', role: 'user', parts: [{ type: 'text', text: SECRET_PROMPT }] }],
      }),
    attach: ({ baseURL, ...options }, id) => aiSDK({ ...options, api: baseURL }).attach(id),
  },
  {
    name: 'an adapter of one’s own',
    header: 'x-acme-secret',
    ask: (options) => {
      const acme = provider({ name: 'acme', baseURL: 'https://acme.test', keyHeader: 'x-acme-secret' }, options);
      const ask = acme.calls({
        name: 'chat',
        request: { '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) } },
        dialect: chatDialect(),
        call: (request) => ({ stream: acme.post('/chat', request) }),
      });
      return ask({ prompt: SECRET_PROMPT });
    },
  },
];
