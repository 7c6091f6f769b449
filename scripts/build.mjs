// Builds the package into dist: plain tsc for the library, esbuild for the command line, whose helpers are bundled so that
// installing the package pulls none of them, nor the lexer of the JSON reader.
import { spawnSync } from 'node:child_process';
import { chmod, readFile, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');

await rm(new URL('../dist', import.meta.url), { recursive: true, force: true });

const compiled = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.build.json'], { cwd: root, stdio: 'inherit' });
if (compiled.status !== 0) process.exit(compiled.status ?? 1);

// The library itself stays outside the bundle: the command line imports what a user imports.
const ownModules = {
  name: 'own-modules',
  setup({ onResolve }) {
    onResolve({ filter: /^\.\.\// }, ({ path }) => ({ path, external: true }));
  },
};
await rm(new URL('../dist/cli', import.meta.url), { recursive: true, force: true });
await build({
  absWorkingDir: root,
  entryPoints: ['src/cli/main.ts'],
  outfile: 'dist/cli/main.js',
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  external: ['rxjs', 'undici', 'zod'],
  plugins: [ownModules],
  // CommonJS modules inside an ES module ask for Node's own by `require`.
  banner: { js: "import { createRequire } from 'node:module';\nconst require = createRequire(import.meta.url);" },
  legalComments: 'inline',
  logLevel: 'warning',
});

// The reader of partial JSON brings its lexer along, and the lexer's licence.
const lexer = '@streamparser/json';
const licence = await readFile(new URL(`../node_modules/${lexer}/LICENSE`, import.meta.url), 'utf8');
const ownErrors = {
  name: 'own-errors',
  setup({ onResolve }) {
    onResolve({ filter: /^\.\.\/errors\.js$/ }, ({ path }) => ({ path, external: true }));
  },
};
await build({
  absWorkingDir: root,
  entryPoints: ['src/internal/partialJSON.ts'],
  outfile: 'dist/internal/partialJSON.js',
  bundle: true,
  platform: 'neutral',
  target: 'es2022',
  format: 'esm',
  plugins: [ownErrors],
  sourcemap: true,
  banner: { js: `/*!\n${lexer}, which is part of this file:\n\n${licence.trim()}\n*/` },
  legalComments: 'inline',
  logLevel: 'warning',
});
await chmod(new URL('../dist/cli/main.js', import.meta.url), 0o755);
