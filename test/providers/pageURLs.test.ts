import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Call } from '../../src/protocol/call.js';
import {
  agUI,
  aiSDK,
  gemini,
  inferencesh,
  infernet,
  openai,
  openaiCompatible,
  provider,
  replicate,
} from '../../src/providers/index.js';

afterEach(() => {
  vi.unstubAllGlobals();
  vi.unstubAllEnvs();
});

const messages = [{ role: 'user', content: 'Hello' }];
const urlOf = ({ submit, stream, workId = '' }: Call): string => (submit ?? stream(workId)).url;

describe('a base URL that is relative to a page', () => {
  it.each([
    ['/api/proxy/openai', 'https://app.test/chat/room', 'https://app.test/api/proxy/openai/chat/completions'],
    ['/api/proxy/openai/', 'https://app.test/', 'https://app.test/api/proxy/openai/chat/completions'],
    ['./proxy', 'https://app.test/chat/room', 'https://app.test/chat/proxy/chat/completions'],
    ['../proxy?v=1', 'https://app.test/chat/room', 'https://app.test/proxy/chat/completions?v=1'],
    ['/', 'http://127.0.0.1:3000/a', 'http://127.0.0.1:3000/chat/completions'],
  ])('is %s of the page at %s', async (baseURL, baseURI, url) => {
    vi.stubGlobal('document', { baseURI });
    const call = openai({ baseURL }).chat({ model: 'm', messages });
    expect(urlOf(call)).toBe(url);
    expect(await call.authorize()).toEqual({});
  });

  it('is taken from the place of a worker, which has no document', () => {
    vi.stubGlobal('location', { href: 'https://app.test/workers/one.js' });
    expect(urlOf(openai({ baseURL: '/p' }).chat({ model: 'm', messages }))).toBe('https://app.test/p/chat/completions');
  });

  it.each(['/p', './p', '../p'])('is refused where there is no page: %s', (baseURL) => {
    expect(() => openai({ baseURL })).toThrow(/relative baseURL needs a page/);
  });

  it.each(['api/proxy', 'app.test/api', '//evil.test/api', '/\\evil.test', '.../p', '?x', '#x', ''])(
    'is not what only lacks a scheme: %j',
    (baseURL) => {
      vi.stubGlobal('document', { baseURI: 'https://app.test/' });
      expect(() => openai({ baseURL })).toThrow(TypeError);
    },
  );

  it('is refused where the page has no place itself', () => {
    vi.stubGlobal('document', { baseURI: 'about:blank' });
    expect(() => openai({ baseURL: '/p' })).toThrow(TypeError);
  });

  it('suits every adapter', () => {
    vi.stubGlobal('document', { baseURI: 'https://app.test/' });
    const calls: Call[] = [
      gemini({ baseURL: '/p' }).generateContent({ model: 'm', contents: 'Hello' }),
      inferencesh({ baseURL: '/p' }).run({ app: 'a/b', input: {} }),
      infernet({ baseURL: '/p' }).chat({ model: 'm', messages }),
      infernet({ baseURL: '/p', originURL: '/native' }).native({ messages }),
      infernet({ baseURL: '/p' }).native({ messages }),
      openaiCompatible({ preset: 'deepseek', baseURL: '/p' }).chat({ model: 'm', messages }),
      replicate({ baseURL: '/p' }).run({ model: 'a/b', input: {} }),
      agUI({ url: '/agent' }).run({ threadId: 't', runId: 'r', messages: [] }),
      aiSDK({ api: '/chat' }).chat({ id: 'c', messages: [] }),
      aiSDK({ api: '/chat' }).attach('c'),
    ];
    expect(calls.map(urlOf)).toEqual([
      'https://app.test/p/models/m:streamGenerateContent?alt=sse',
      'https://app.test/p/apps/run',
      'https://app.test/p/jobs',
      'https://app.test/native/api/chat',
      'https://app.test/api/chat',
      'https://app.test/p/chat/completions',
      'https://app.test/p/models/a/b/predictions',
      'https://app.test/agent',
      'https://app.test/chat',
      'https://app.test/chat/c/stream',
    ]);
    const deepseek = openaiCompatible({ preset: 'deepseek', baseURL: '/p' }).chat({ model: 'm', messages });
    expect(deepseek.resume?.continueWith?.('The')?.url).toBe('https://app.test/p/beta/chat/completions');
  });
});

describe('no key', () => {
  it('is sent where it is null, whatever the environment has', async () => {
    vi.stubEnv('OPENAI_API_KEY', 'key-of-the-tests');
    const { authorize } = openai({ apiKey: null, baseURL: 'https://app.test/proxy' }).chat({ model: 'm', messages });
    expect(await authorize()).toEqual({});
    expect(await provider({ name: 'acme', baseURL: 'https://a.test' }, { apiKey: null }).authorize()).toEqual({});
    expect(await gemini({ apiKey: null }).generateContent({ model: 'm', contents: 'x' }).authorize()).toEqual({});
  });

  it('is still a mistake where it is only left out', () => {
    vi.stubEnv('OPENAI_API_KEY', '');
    expect(() => openai({ baseURL: 'https://app.test/proxy' }).chat({ model: 'm', messages })).toThrow(/needs a key/);
  });

  it('is the page’s own to send where it has one, also to a relative URL', async () => {
    vi.stubGlobal('document', { baseURI: 'https://app.test/' });
    const { authorize } = openai({ apiKey: 'k', baseURL: '/p' }).chat({ model: 'm', messages });
    expect(await authorize()).toEqual({ authorization: 'Bearer k' });
  });
});
