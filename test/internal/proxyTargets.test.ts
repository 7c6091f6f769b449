import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { ProxyTargets } from '../../src/internal/proxyTargets.js';
import { gemini, inferencesh, infernet, openai, polargrid, provider } from '../../src/providers/index.js';

const apiKey = 'key-of-the-tests';
const providers = {
  openai: openai({ apiKey }),
  infsh: inferencesh({ apiKey }),
  gemini: gemini({ apiKey }),
};
const allow = [
  'POST /openai/chat/completions',
  'GET /openai/responses/{id}',
  'POST /infsh/apps/run',
  'GET /infsh/tasks/{id}/stream',
  'POST /gemini/models/{model}:streamGenerateContent',
];

function find(method: string, target: string, told: string | null = null, mountPath = '/'): string | undefined {
  return new ProxyTargets(providers, allow, mountPath).find({ method, target, told })?.url.href;
}

/** What is made where there is a page. */
function inPage<T>(make: () => T): T {
  vi.stubGlobal('document', { baseURI: 'https://app.test/' });
  try {
    return make();
  } finally {
    vi.unstubAllGlobals();
  }
}

const API = 'https://api.inference.sh';

describe('ProxyTargets', () => {
  it.each([
    ['POST', '/openai/chat/completions', 'https://api.openai.com/v1/chat/completions'],
    ['POST', '/openai/%63hat/completions', 'https://api.openai.com/v1/chat/completions'],
    [
      'GET',
      '/openai/responses/resp_1?stream=true&x=a%20b',
      'https://api.openai.com/v1/responses/resp_1?stream=true&x=a+b',
    ],
    ['GET', '/openai/responses/a@b', 'https://api.openai.com/v1/responses/a@b'],
    ['GET', '/openai/responses/a%40b', 'https://api.openai.com/v1/responses/a@b'],
    ['GET', '/openai/responses/%7Ba%7D', 'https://api.openai.com/v1/responses/%7Ba%7D'],
    ['GET', '/openai/responses/a..b', 'https://api.openai.com/v1/responses/a..b'],
    [
      'POST',
      '/gemini/models/gemini-2.5-flash:streamGenerateContent?alt=sse&key=of-the-page',
      'https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse',
    ],
  ])('finds %s %s', (method, target, url) => {
    expect(find(method, target)).toBe(url);
  });

  it.each([
    ['POST', '/gemini/models/x:countTokens'],
    ['POST', '/gemini/models/:streamGenerateContent'],
    ['POST', '/gemini/models/x:y:streamGenerateContent'],
    ['POST', '/gemini/models/x%2Fy:streamGenerateContent'],
  ])('does not find %s %s', (method, target) => {
    expect(find(method, target)).toBeUndefined();
  });

  it('stands where it is mounted, and nowhere else', () => {
    const at = (target: string, mountPath: string): string | undefined => find('POST', target, null, mountPath);
    const found = 'https://api.openai.com/v1/chat/completions';
    expect(at('/api/proxy/openai/chat/completions', '/api/proxy')).toBe(found);
    expect(at('/api/proxy/openai/chat/completions', '/api/proxy/')).toBe(found);
    for (const target of [
      '/openai/chat/completions',
      '/api/proxyopenai/chat/completions',
      '/api/other/../proxy/openai/chat/completions',
      '/api/%70roxy/openai/chat/completions',
    ]) {
      expect(at(target, '/api/proxy')).toBeUndefined();
    }
  });

  it('knows the targets of inference.sh’s own client, by header, by parameter, and by both', () => {
    const run = `${API}/apps/run`;
    const stream = `${API}/tasks/t1/stream?x=1`;
    const parameter = (url: string): string => `/?__inf_target=${encodeURIComponent(url)}`;
    expect(find('POST', '/', run)).toBe(run);
    expect(find('POST', '', run)).toBe(run);
    expect(find('POST', '/infsh', run)).toBe(run);
    expect(find('GET', parameter(stream))).toBe(stream);
    expect(find('GET', parameter(stream), stream)).toBe(stream);
    expect(find('POST', '/proxy', run, '/proxy')).toBe(run);
    expect(find('POST', '/proxy/infsh', run, '/proxy')).toBe(run);
    // Any provider may be meant, by the same rules.
    expect(find('POST', '/', 'https://api.openai.com/v1/chat/completions')).toBe(
      'https://api.openai.com/v1/chat/completions',
    );
  });

  it.each([
    ['another path', '/', `${API}/files`],
    ['another origin', '/', 'https://evil.test/apps/run'],
    ['an origin that begins alike', '/', 'https://api.inference.sh.evil.test/apps/run'],
    ['userinfo', '/', 'https://api.inference.sh@evil.test/apps/run'],
    ['userinfo before the host', '/', 'https://x@api.inference.sh/apps/run'],
    ['a port', '/', 'https://api.inference.sh:8443/apps/run'],
    ['the port of the scheme', '/', 'https://api.inference.sh:443/apps/run'],
    ['another scheme', '/', 'http://api.inference.sh/apps/run'],
    ['no scheme', '/', '//api.inference.sh/apps/run'],
    ['a path alone', '/', '/apps/run'],
    ['capitals', '/', 'HTTPS://API.INFERENCE.SH/apps/run'],
    ['a climb', '/', `${API}/apps/x/../run`],
    ['a climb in escapes', '/', `${API}/apps/%2e%2e/apps/run`],
    ['backslashes', '/', 'https:\\\\api.inference.sh\\apps\\run'],
    ['a backslash before the path', '/', `${API}\\@evil.test/apps/run`],
    ['a hash', '/', `${API}/apps/run#x`],
    ['a space', '/', ` ${API}/apps/run`],
    ['a tab', '/', `${API}/ap\tps/run`],
    ['two headers', '/', `${API}/apps/run, ${API}/apps/run`],
    ['nothing', '/', ''],
    ['a path besides', '/infsh/apps/run', `${API}/apps/run`],
    ['another provider’s place', '/openai', `${API}/apps/run`],
    ['a parameter that says otherwise', `/?__inf_target=${encodeURIComponent(`${API}/files`)}`, `${API}/apps/run`],
    [
      'two parameters',
      `/?__inf_target=${encodeURIComponent(`${API}/files`)}&__inf_target=${encodeURIComponent(`${API}/apps/run`)}`,
      null,
    ],
    ['a parameter escaped twice', `/?__inf_target=${encodeURIComponent(encodeURIComponent(`${API}/apps/run`))}`, null],
  ])('does not find a target with %s', (_, target, told) => {
    expect(find('POST', target, told)).toBeUndefined();
  });

  it('tells providers at one origin apart by their paths', () => {
    const one = provider({ name: 'one', baseURL: 'https://x.test/api', key: 'optional' });
    const all = provider({ name: 'all', baseURL: 'https://x.test', key: 'optional' });
    const targets = new ProxyTargets({ all, one }, ['GET /one/models', 'GET /all/api/files'], '/');
    const nameOf = (told: string): string | undefined =>
      targets.find({ method: 'GET', target: '/', told })?.provider.name;
    expect(nameOf('https://x.test/api/models')).toBe('one');
    expect(nameOf('https://x.test/api/files')).toBe('all');
    expect(nameOf('https://x.test/apimodels')).toBeUndefined();
  });

  it('takes what a base URL has, its query and the path of a route among it', () => {
    const agent = provider({ name: 'agent', baseURL: 'https://x.test/agent?v=1', key: 'optional' });
    const targets = new ProxyTargets({ agent }, ['POST /agent'], '/');
    expect(targets.find({ method: 'POST', target: '/agent?v=2&w=3', told: null })?.url.href).toBe(
      'https://x.test/agent?v=1&w=3',
    );
    expect(targets.find({ method: 'POST', target: '/agent/', told: null })).toBeUndefined();
  });

  it('takes an adapter, one of its functions, and what makes adapters', () => {
    const net = infernet({ apiKey });
    const targets = new ProxyTargets(
      {
        net,
        native: net.native,
        grid: polargrid({ apiKey }),
        own: provider({ name: 'own', baseURL: 'http://10.0.0.7/', key: 'optional' }),
      },
      ['POST /net/jobs', 'POST /native/api/chat', 'POST /grid/chat/completions', 'GET /own/x'],
      '/',
    );
    const urlOf = (method: string, target: string): string | undefined =>
      targets.find({ method, target, told: null })?.url.href;
    expect(urlOf('POST', '/net/jobs')).toBe('https://infernetprotocol.com/api/v1/jobs');
    expect(urlOf('POST', '/native/api/chat')).toBe('https://infernetprotocol.com/api/chat');
    expect(urlOf('POST', '/grid/chat/completions')).toBe('https://api.yto-01.edge.polargrid.ai/v1/chat/completions');
    expect(urlOf('GET', '/own/x')).toBe('http://10.0.0.7/x');
  });

  it.each<[string, () => unknown]>([
    ['no list', () => new ProxyTargets(providers, [], '/')],
    ['no list at all', () => new ProxyTargets(providers, undefined as unknown as [], '/')],
    ['a list that is a text', () => new ProxyTargets(providers, 'POST /openai/x' as unknown as [], '/')],
    ['a line without a method', () => new ProxyTargets(providers, ['/openai/x'], '/')],
    ['a method that is none', () => new ProxyTargets(providers, ['CONNECT /openai/x'], '/')],
    ['a method in small letters', () => new ProxyTargets(providers, ['get /openai/x'], '/')],
    ['a provider that is not there', () => new ProxyTargets(providers, ['GET /acme/x'], '/')],
    ['a climb in a line', () => new ProxyTargets(providers, ['GET /openai/../x'], '/')],
    ['an escape in a line', () => new ProxyTargets(providers, ['GET /openai/a%20b'], '/')],
    ['an empty segment', () => new ProxyTargets(providers, ['GET /openai//x'], '/')],
    ['a slash at the end', () => new ProxyTargets(providers, ['GET /openai/x/'], '/')],
    ['two names in one segment', () => new ProxyTargets(providers, ['GET /openai/{a}-{b}'], '/')],
    ['half a name', () => new ProxyTargets(providers, ['GET /openai/{a'], '/')],
    ['a star', () => new ProxyTargets(providers, ['GET /openai/**/x?'], '/')],
    ['a query in a line', () => new ProxyTargets(providers, ['GET /openai/x?y=1'], '/')],
    ['a mount that is no path', () => new ProxyTargets(providers, allow, 'api')],
    ['a mount that climbs', () => new ProxyTargets(providers, allow, '/a/../b')],
    ['a name that is no segment', () => new ProxyTargets({ 'a/b': providers.openai }, ['GET /a/b'], '/')],
    ['what is no provider', () => new ProxyTargets({ a: {} }, ['GET /a/x'], '/')],
    ['nothing for a provider', () => new ProxyTargets({ a: null as unknown as object }, ['GET /a/x'], '/')],
    [
      'a key that is missing',
      () => new ProxyTargets({ a: provider({ name: 'a', baseURL: 'https://a.test' }) }, ['GET /a/x'], '/'),
    ],
    ['a relative base', () => new ProxyTargets({ a: inPage(() => openai({ baseURL: '/api' })) }, ['GET /a/x'], '/')],
  ])('refuses %s', (_, make) => {
    expect(make).toThrow(TypeError);
  });

  it('lets through, of any path, only what it names, unresolved', () => {
    const targets = new ProxyTargets(providers, allow, '/p');
    const named =
      /^https:\/\/(api\.openai\.com\/v1\/(chat\/completions|responses\/[^/?#:;\\]+)|api\.inference\.sh\/(apps\/run|tasks\/[^/?#:;\\]+\/stream)|generativelanguage\.googleapis\.com\/v1beta\/models\/[^/?#:;\\]+:streamGenerateContent)(\?.*)?$/;
    const nasty = fc.oneof(
      fc.constantFrom(
        ...[
          'p',
          'openai',
          'infsh',
          'gemini',
          'chat',
          'completions',
          'responses',
          'tasks',
          'stream',
          'apps',
          'run',
          'models',
        ],
        ...[
          '.',
          '..',
          '%2e',
          '%2E%2e',
          '%2f',
          '%5c',
          '\\',
          ';',
          ':',
          '@',
          '//',
          '?',
          '#',
          '%',
          '%00',
          '%0a',
          '\t',
          ' ',
          'x',
        ],
        ...[
          'evil.test',
          'https:',
          '%25',
          '%252e',
          'é',
          '%c3%a9',
          '％',
          '{id}',
          '*',
          ':streamGenerateContent',
          '__inf_target=',
        ],
        ...['https://api.inference.sh', 'https://api.openai.com/v1'],
      ),
      fc.string({ maxLength: 4, unit: 'binary' }),
    );
    const path = fc
      .array(fc.tuple(fc.constantFrom('/', '', '/'), nasty), { maxLength: 8 })
      .map((parts) => parts.flat().join(''));
    const close = fc.constantFrom(
      '/p/openai/chat/completions',
      '/p/openai/responses/',
      '/p/infsh/tasks/',
      '/p/gemini/models/',
    );
    // Those that may well be on the list, so that it is also seen what is let through.
    const ends = fc.constantFrom('', '/stream', ':streamGenerateContent', '?x=1', '?__inf_target=');
    const near = fc
      .tuple(close, fc.oneof(fc.constantFrom('', 'x', 'x-1', '%41'), nasty), ends)
      .map((parts) => parts.join(''));
    const target = fc.oneof(
      path,
      near,
      fc.tuple(close, path).map((parts) => parts.join('')),
      fc.tuple(close, fc.string({ unit: 'binary' })).map((parts) => parts.join('')),
    );
    const told = fc.oneof(
      { weight: 6, arbitrary: fc.constant(null) },
      path,
      fc.tuple(fc.constantFrom(API, 'https://api.openai.com/v1', `${API}/tasks/`), path).map((parts) => parts.join('')),
    );
    let found = 0;
    fc.assert(
      fc.property(fc.constantFrom('GET', 'POST', 'get'), target, told, (method, asked, header) => {
        const url = targets.find({ method, target: asked, told: header })?.url;
        if (url === undefined) return;
        found += 1;
        expect(url.href).toMatch(named);
        expect(new URL(url.href).href).toBe(url.href);
        expect([url.username, url.password, url.hash]).toEqual(['', '', '']);
        for (const segment of url.pathname.split('/').slice(1)) {
          expect(decodeURIComponent(segment)).toMatch(/^[\x21-\x7e]+$/);
          expect(decodeURIComponent(segment)).not.toMatch(/^\.|[/\\%?#]/);
        }
        expect(url.searchParams.has('__inf_target')).toBe(false);
      }),
      { numRuns: 20_000 },
    );
    expect(found).toBeGreaterThan(100);
  });
});
