import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { describe, expect, it } from 'vitest';
import * as library from '../../src/index.js';
import { complaintsOf } from '../support/complaints.js';
import { pages, readme, snippetsOf } from '../support/readme.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const snippets = [...pages].flatMap(([page, text]) => snippetsOf(text).map((snippet) => ({ page, ...snippet })));

/** Runs a program as a user's would run, against the sources. */
async function run(code: string): Promise<string> {
  const folder = await mkdtemp(join(root, 'node_modules', '.readme-'));
  try {
    const { outputFiles } = await build({
      absWorkingDir: root,
      stdin: { contents: code, resolveDir: root, loader: 'ts' },
      bundle: true,
      write: false,
      format: 'esm',
      platform: 'node',
      external: ['rxjs', 'undici', 'zod'],
      alias: {
        '#io': './src/internal/io.node.ts',
        '#templates': './src/protocol/template.ts',
        millrace: './src/index.ts',
        'millrace/providers': './src/providers/index.ts',
        'millrace/testing': './src/testing/index.ts',
      },
    });
    const file = join(folder, 'program.mjs');
    await writeFile(file, outputFiles[0]?.contents ?? '');
    const child = spawn(process.execPath, [file], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
    const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
    return stdout + stderr;
  } finally {
    await rm(folder, { recursive: true });
  }
}

describe('the pages', () => {
  it('have programs that compile', () => {
    const programs = new Map(
      snippets.map(({ page, code, language, line }) => [
        `${page.replace(/\W/g, '-')}-line-${String(line)}.${language}`,
        code,
      ]),
    );
    expect(programs.size).toBeGreaterThanOrEqual(12);
    expect(complaintsOf(programs)).toEqual([]);
  });

  it.each(snippets.filter(({ output }) => output !== undefined))(
    'have a program in line $line of $page that prints what stands behind it',
    async ({ code, output }) => {
      expect((await run(code)).trimEnd()).toBe(output?.trimEnd());
    },
  );

  it('name every function and class that the main entry has, in the README', () => {
    const named = Object.keys(library).filter((name) => !/^(isMillraceError|MillraceError)$/.test(name));
    expect(named.filter((name) => !readme.includes(`\`${name}`))).toEqual([]);
  });
});

describe('a page', () => {
  it('gives its programs, with what they print', () => {
    const page =
      'Hi\n\n```ts\nconst a = 1;\n```\n\n```ts run\nconsole.log(2);\n```\n\n```text\n2\n```\n\n```sh\nls\n```\n';
    expect(snippetsOf(page)).toEqual([
      { code: 'const a = 1;\n', language: 'ts', line: 3, output: undefined },
      { code: 'console.log(2);\n', language: 'ts', line: 7, output: '2\n' },
    ]);
  });

  it('must show what a program prints', () => {
    expect(() => snippetsOf('```ts run\nx\n```\n')).toThrow('line 1');
  });
});
