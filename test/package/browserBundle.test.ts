import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { builtinModules } from 'node:module';
import { fileURLToPath } from 'node:url';
import { build, type Plugin } from 'esbuild';
import { lastValueFrom } from 'rxjs';
import { beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import * as library from '../../src/index.js';
import type { FetchLike } from '../../src/internal/io.js';
import { startServer } from '../../src/testing/index.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const { imports } = JSON.parse(readFileSync(`${root}/package.json`, 'utf8')) as {
  imports: Record<string, Record<string, string>>;
};

/** Resolves the package's `imports` as a bundler does, by conditions, and looks for the source instead of the build. */
function packageImports(conditions: readonly string[]): Plugin {
  return {
    name: 'package-imports',
    setup({ onResolve }) {
      onResolve({ filter: /^#/ }, ({ path }) => {
        const target = Object.entries(imports[path] ?? {}).find(([condition]) => conditions.includes(condition));
        if (target === undefined) throw new Error(`nothing for ${path} under ${conditions.join(', ')}`);
        return { path: root + target[1].replace('./dist/', 'src/').replace(/\.js$/, '.ts') };
      });
    },
  };
}

interface Bundled {
  readonly inputs: readonly string[];
  /** The inputs of which something is left. */
  readonly contributors: readonly string[];
  readonly external: readonly string[];
  readonly code: string;
}

async function bundle(entry: string, platform: 'browser' | 'node'): Promise<Bundled> {
  const conditions = platform === 'node' ? ['node', 'import', 'default'] : ['browser', 'import', 'default'];
  const { metafile, outputFiles } = await build({
    absWorkingDir: root,
    stdin: { contents: entry, resolveDir: root, loader: 'ts' },
    bundle: true,
    format: 'esm',
    platform,
    conditions,
    external: ['rxjs', 'undici', 'zod'],
    plugins: [packageImports(conditions)],
    metafile: true,
    write: false,
    logLevel: 'silent',
  });
  const [output] = Object.values(metafile.outputs);
  return {
    inputs: Object.keys(metafile.inputs),
    contributors: Object.entries(output?.inputs ?? {}).flatMap(([path, { bytesInOutput }]) =>
      bytesInOutput > 0 && path.startsWith('src/') ? [path.replace(/^src\/(.*)\.ts$/, '$1')] : [],
    ),
    external: (output?.imports ?? []).map(({ path }) => path),
    code: outputFiles[0]?.text ?? '',
  };
}

/** Runs a bundle of the main entry as a page would. */
async function openPage(): Promise<typeof library> {
  const { code } = await bundle(`export * from './src/index.ts'`, 'browser');
  const folder = await mkdtemp(`${root}/node_modules/.bundle-`);
  try {
    await writeFile(`${folder}/page.mjs`, code);
    return (await import(/* @vite-ignore */ `${folder}/page.mjs`)) as typeof library;
  } finally {
    await rm(folder, { recursive: true });
  }
}

const CORE = `export { fromHTTP, parseSSE, decode, toTokens } from './src/index.ts';`;

describe('a bundle for a browser', () => {
  it('of everything in the main entry has no undici, no zod and nothing of Node', async () => {
    const { inputs, external, code } = await bundle(`export * from './src/index.ts'`, 'browser');
    expect(external).toEqual(expect.arrayContaining(['rxjs']));
    expect(new Set(external)).toEqual(new Set(['rxjs']));
    expect(inputs).toContain('src/internal/io.web.ts');
    // The lexer of `parseObject`, which the package carries with it.
    const others = inputs.filter((path) => !path.includes('node_modules/@streamparser/json/'));
    expect(others.filter((path) => path.includes('node_modules') || path.includes('/node/'))).toEqual([]);
    const builtins = builtinModules.filter((name) => new RegExp(`from ?["'](node:)?${name}["']`).test(code));
    expect(builtins).toEqual([]);
  });

  it('has the same names, and says why a page has no files', async () => {
    const page = await openPage();
    expect(Object.keys(page).sort()).toEqual(Object.keys(library).sort());
    expect(() => page.toFile('x.txt')).toThrow(TypeError);
    expect(() => page.toFile('x.txt')).toThrow('only Node has');
    expect(() => page.toStdout()).toThrow(TypeError);
    const server = await startServer();
    onTestFinished(() => server.close());
    const events = lastValueFrom(page.fromHTTP(server.url).pipe(page.parseSSE()));
    await (await server.accept()).end('data: hi\n\n');
    expect(await events).toMatchObject({ data: 'hi' });
  });

  it('of one provider brings zod/mini and not all of zod', async () => {
    const { external } = await bundle(`export { polargrid } from './src/providers/index.ts'`, 'browser');
    expect(new Set(external)).toEqual(new Set(['zod/mini']));
  });

  it('of the core is made of the core alone', async () => {
    const { contributors, external } = await bundle(CORE, 'browser');
    expect(new Set(external)).toEqual(new Set(['rxjs']));
    const entries = contributors.filter((path) => !/^(internal|protocol)\//.test(path));
    expect(new Set(entries)).toEqual(
      new Set(['errors', 'operators/decode', 'operators/parseSSE', 'operators/toTokens', 'sources/fromHTTP']),
    );
    // What the others hold and ask for.
    for (const path of ['internal/evidence', 'internal/queue', 'internal/clocks', 'protocol/ndjsonParser']) {
      expect(contributors).not.toContain(path);
    }
  });

  it('of one dialect has no other, and nothing that asks', async () => {
    const entry = `${CORE} export { chatDialect } from './src/providers/index.ts';`;
    const { contributors, external } = await bundle(entry, 'browser');
    expect(new Set(external)).toEqual(new Set(['rxjs', 'zod/mini']));
    const providers = contributors.filter((path) => path.startsWith('providers/'));
    expect(providers).toContain('providers/chatDialect');
    expect(contributors).toContain('protocol/templateless');
    expect(contributors).not.toContain('protocol/template');
    expect(providers.filter((path) => !/Chat|\/chat/.test(path))).toEqual([]);
    expect(providers.filter((path) => /Request|Calls$|Presets/.test(path))).toEqual(['providers/chatToolCalls']);
  });

  it('leaves out what only Node can know: redirects, limits of undici, channels', async () => {
    const words = [
      'UND_ERR_',
      'HPE_',
      'Z_DATA_ERROR',
      'ECONNREFUSED',
      'millrace:',
      'maxHeaderSize',
      'names no location',
    ];
    const [page, node] = await Promise.all([bundle(CORE, 'browser'), bundle(CORE, 'node')]);
    expect(words.filter((word) => page.code.includes(word))).toEqual([]);
    expect(words.filter((word) => !node.code.includes(word))).toEqual([]);
    expect(page.inputs.filter((path) => path.includes('/node/'))).toEqual([]);
  });
});

describe('a page', () => {
  let page: typeof library;
  beforeAll(async () => {
    page = await openPage();
  });

  function failureOf(fetch: FetchLike, url = 'https://a.example/v1?key=1', body?: string): Promise<unknown> {
    const method = body === undefined ? 'GET' : 'POST';
    const headers = { authorization: 'Bearer sk-a-key-of-a-page' };
    return lastValueFrom(page.fromHTTP(url, { fetch, method, headers, body })).then(
      () => 'completed',
      (error: unknown) => error,
    );
  }

  it('that is shown a redirect by its fetch does not follow it, and says so', async () => {
    const asked: (string | undefined)[] = [];
    const error = await failureOf(
      (_, { redirect }) => {
        asked.push(redirect);
        const headers = { location: 'https://b.example/', 'x-request-id': 'r1' };
        return Promise.resolve(new Response('moved', { status: 307, headers }));
      },
      undefined,
      'the prompt of the page',
    );
    expect(asked).toEqual(['manual']);
    expect(error).toMatchObject({ code: 'ERR_HTTP', status: 307, requestId: 'r1' });
    expect((error as Error).message).toContain('HTTP 307 from https://a.example/v1: ');
    expect((error as Error).message).toContain('the redirect was not followed');
    expect(page.isRetryable(error)).toBe(false);
  });

  it('that is not shown it hears of it all the same', async () => {
    const hidden = { type: 'opaqueredirect', status: 0, url: '', headers: new Headers(), body: null };
    const error = await failureOf(() => Promise.resolve(hidden as unknown as Response)); // no constructor makes one
    expect(error).toMatchObject({ code: 'ERR_HTTP', status: 0 });
    expect((error as Error).message).toContain(`redirect: 'error'`);
  });

  it('that loses its connection is told when', async () => {
    const before = await failureOf(() => Promise.reject(new TypeError('Failed to fetch')));
    expect(before).toMatchObject({ code: 'ERR_INTERRUPTED', during: 'headers' });
    const body = new ReadableStream({
      pull: (controller) => {
        controller.error(new TypeError('network error'));
      },
    });
    const headers = { 'content-type': 'text/event-stream' };
    const within = await failureOf(() => Promise.resolve(new Response(body, { headers })));
    expect(within).toMatchObject({ code: 'ERR_INTERRUPTED', during: 'body' });
    for (const error of [before, within]) {
      expect(page.isRetryable(error)).toBe(true);
      expect((error as Error).message).toMatch(/https:\/\/a\.example\/v1 .*: (Failed to fetch|network error)$/);
    }
  });

  it('shows neither key nor prompt in its errors, and warns of a key in plain text', async () => {
    const warn = vi.spyOn(console, 'warn').mockReturnValue();
    onTestFinished(() => {
      warn.mockRestore();
    });
    const prompt = 'a prompt that nobody else may read';
    const said = { error: { code: 'bad', message: `sk-a-key-of-a-page may not ask: ${prompt}` } };
    const error = await failureOf(
      () => Promise.resolve(Response.json(said, { status: 400 })),
      'http://a.example/v1',
      JSON.stringify({ prompt }),
    );
    expect(error).toMatchObject({ status: 400, providerMessage: '[redacted] may not ask: [prompt]' });
    expect(warn.mock.calls.flat().join()).toContain('http://a.example in plain text');
  });

  it('tells no channel, also where there are some', async () => {
    const heard: unknown[] = [];
    const hear = (message: unknown): void => void heard.push(message);
    for (const name of ['millrace:attempt', 'millrace:end']) {
      subscribe(name, hear);
      onTestFinished(() => void unsubscribe(name, hear));
    }
    await failureOf(() => Promise.reject(new TypeError('Failed to fetch')));
    expect(heard).toEqual([]);
  });
});

it('a bundle for Node has undici', async () => {
  const { inputs, external } = await bundle(`export { fromHTTP } from './src/index.ts'`, 'node');
  expect(external).toEqual(expect.arrayContaining(['rxjs', 'undici']));
  expect(inputs).toContain('src/internal/io.node.ts');
});
