import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { builtinModules } from 'node:module';
import { fileURLToPath } from 'node:url';
import { build, type Plugin } from 'esbuild';
import { lastValueFrom } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import * as library from '../../src/index.js';
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
    external: (output?.imports ?? []).map(({ path }) => path),
    code: outputFiles[0]?.text ?? '',
  };
}

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
    const { code } = await bundle(`export * from './src/index.ts'`, 'browser');
    const folder = await mkdtemp(`${root}/node_modules/.bundle-`);
    try {
      await writeFile(`${folder}/page.mjs`, code);
      const page = (await import(/* @vite-ignore */ `${folder}/page.mjs`)) as typeof library;
      expect(Object.keys(page).sort()).toEqual(Object.keys(library).sort());
      expect(() => page.toFile('x.txt')).toThrow(TypeError);
      expect(() => page.toFile('x.txt')).toThrow('only Node has');
      expect(() => page.toStdout()).toThrow(TypeError);
      const server = await startServer();
      onTestFinished(() => server.close());
      const events = lastValueFrom(page.fromHTTP(server.url).pipe(page.parseSSE()));
      await (await server.accept()).end('data: hi\n\n');
      expect(await events).toMatchObject({ data: 'hi' });
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('of one provider brings zod/mini and not all of zod', async () => {
    const { external } = await bundle(`export { polargrid } from './src/providers/index.ts'`, 'browser');
    expect(new Set(external)).toEqual(new Set(['zod/mini']));
  });
});

it('a bundle for Node has undici', async () => {
  const { inputs, external } = await bundle(`export { fromHTTP } from './src/index.ts'`, 'node');
  expect(external).toEqual(expect.arrayContaining(['rxjs', 'undici']));
  expect(inputs).toContain('src/internal/io.node.ts');
});
