import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import * as library from '../../src/index.js';
import { readme, snippetsOf } from '../support/readme.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const snippets = snippetsOf(readme);

/** What the compiler says of these programs, as if each were a file in the project. */
function complaints(programs: ReadonlyMap<string, string>): string[] {
  const config = ts.getParsedCommandLineOfConfigFile(
    join(root, 'tsconfig.json'),
    {},
    {
      ...ts.sys,
      onUnRecoverableConfigFileDiagnostic: (diagnostic) => {
        throw new Error(ts.flattenDiagnosticMessageText(diagnostic.messageText, '\n'));
      },
    },
  );
  const options = config?.options ?? {};
  const host = ts.createCompilerHost(options);
  const { fileExists, readFile, getSourceFile } = host;
  host.fileExists = (path) => programs.has(path) || fileExists(path);
  host.readFile = (path) => programs.get(path) ?? readFile(path);
  host.getSourceFile = (path, ...rest) => {
    const code = programs.get(path);
    return code === undefined ? getSourceFile(path, ...rest) : ts.createSourceFile(path, code, ts.ScriptTarget.ES2022);
  };
  const program = ts.createProgram([...programs.keys()], options, host);
  return ts
    .getPreEmitDiagnostics(program)
    .filter(({ file }) => file === undefined || programs.has(file.fileName))
    .map(({ file, messageText }) => `${file?.fileName ?? ''}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`);
}

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
        millrace: './src/index.ts',
        'millrace/providers': './src/providers/index.ts',
        'millrace/testing': './src/testing/index.ts',
      },
    });
    const file = join(folder, 'program.mjs');
    await writeFile(file, outputFiles[0]?.contents ?? '');
    const child = spawn(process.execPath, [file], { stdio: ['ignore', 'pipe', 'pipe'] });
    const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
    return stdout + stderr;
  } finally {
    await rm(folder, { recursive: true });
  }
}

describe('the README', () => {
  it('has programs that compile', () => {
    const programs = new Map(snippets.map(({ code, line }) => [join(root, `readme-line-${String(line)}.ts`), code]));
    expect(programs.size).toBeGreaterThanOrEqual(6);
    expect(complaints(programs)).toEqual([]);
  });

  it.each(snippets.filter(({ output }) => output !== undefined))(
    'has a program in line $line that prints what stands behind it',
    async ({ code, output }) => {
      expect((await run(code)).trimEnd()).toBe(output?.trimEnd());
    },
  );

  it('names every function and class that the main entry has', () => {
    const named = Object.keys(library).filter((name) => !/^(isMillraceError|MillraceError)$/.test(name));
    expect(named.filter((name) => !readme.includes(`\`${name}`))).toEqual([]);
  });
});

describe('a page', () => {
  it('gives its programs, with what they print', () => {
    const page =
      'Hi\n\n```ts\nconst a = 1;\n```\n\n```ts run\nconsole.log(2);\n```\n\n```text\n2\n```\n\n```sh\nls\n```\n';
    expect(snippetsOf(page)).toEqual([
      { code: 'const a = 1;\n', line: 3, output: undefined },
      { code: 'console.log(2);\n', line: 7, output: '2\n' },
    ]);
  });

  it('must show what a program prints', () => {
    expect(() => snippetsOf('```ts run\nx\n```\n')).toThrow('line 1');
  });
});
