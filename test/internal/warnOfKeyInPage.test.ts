import { afterEach, beforeEach, describe, expect, it, type MockInstance, vi } from 'vitest';

let warn: MockInstance<typeof console.warn>;

beforeEach(() => {
  warn = vi.spyOn(console, 'warn').mockReturnValue();
  vi.resetModules(); // a page of its own for each test
});
afterEach(() => {
  vi.unstubAllGlobals();
  warn.mockRestore();
});

function openPage(): void {
  vi.stubGlobal('window', globalThis);
  vi.stubGlobal('document', { baseURI: 'https://app.test/chat/' });
}

type Providers = typeof import('../../src/providers/index.js');

function load(): Promise<Providers> {
  return import('../../src/providers/index.js');
}

const apiKey = 'key-of-the-tests';

describe('a key in a page', () => {
  it('is warned of once, with the remedy and without the key', async () => {
    openPage();
    const { openai, anthropic, inferencesh } = await load();
    openai({ apiKey });
    anthropic({ apiKey });
    inferencesh({ apiKey: () => apiKey });
    expect(warn).toHaveBeenCalledTimes(1);
    const [[message]] = warn.mock.calls as [[string]];
    expect(message).toMatch(/openai.*apiKey.*proxyHandler.*baseURL: '\/api\/proxy\/openai'.*dangerouslyAllowBrowser/);
    expect(message).not.toContain(apiKey);
  });

  it.each<[string, (providers: Providers) => unknown]>([
    ['a function', ({ polargrid }) => polargrid({ apiKey: () => Promise.resolve(apiKey) })],
    ['a token', ({ gemini }) => gemini({ accessToken: apiKey })],
    [
      'one of an adapter of one’s own',
      ({ provider }) => provider({ name: 'acme', baseURL: 'https://a.test' }, { apiKey }),
    ],
    ['one beside a relative URL', ({ openai }) => openai({ apiKey, baseURL: '/api/proxy/openai' })],
  ])('is warned of where it is %s', async (_, make) => {
    openPage();
    make(await load());
    expect(warn).toHaveBeenCalledTimes(1);
  });

  it('is not warned of where it is meant, nor a proxy that needs none', async () => {
    openPage();
    const { openai, gemini } = await load();
    openai({ apiKey, dangerouslyAllowBrowser: true });
    openai({ apiKey: null });
    openai({ baseURL: '/api/proxy/openai' });
    gemini({ baseURL: '/api/proxy/gemini' });
    expect(warn).not.toHaveBeenCalled();
    openai({ apiKey });
    expect(warn).toHaveBeenCalledTimes(1);
  });

  it.each<[string, () => void]>([
    ['Node', () => undefined],
    ['a worker', () => vi.stubGlobal('self', globalThis)],
    ['what has a window and no document', () => vi.stubGlobal('window', globalThis)],
  ])('is none in %s', async (_, open) => {
    open();
    const { openai } = await load();
    openai({ apiKey });
    expect(warn).not.toHaveBeenCalled();
  });
});
