// Builds the package into dist: plain tsc for the library, esbuild for the command line, whose helpers are bundled so that
// installing the package pulls none of them, nor the lexer of the JSON reader or what draws on a terminal.
import { spawnSync } from 'node:child_process';
import { chmod, readdir, readFile, rm, writeFile } from 'node:fs/promises';
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

// What draws on a terminal comes as one file that runs when something is drawn: few programs do, and starting it takes as long as
// a tenth of everything else. The cursor is hidden by our own code: log-update does it on another stream than it draws on.
const terminal = 'internal/node/terminal';
const drawing = {
  name: 'drawing',
  setup({ onResolve, onLoad }) {
    // What knows nothing but its arguments may be there twice.
    onResolve({ filter: /^\.\.\/\.\.\// }, ({ path }) =>
      /\/(textWidth|graphemes)\.js$/.test(path) ? undefined : { path, external: true },
    );
    onResolve({ filter: /^cli-cursor$/ }, ({ path }) => ({ path, namespace: 'unused' }));
    onLoad({ filter: /.*/, namespace: 'unused' }, () => ({ contents: 'export default undefined;' }));
  },
};
const drawingOptions = {
  absWorkingDir: root,
  stdin: {
    contents: `export const openTerminal = (...args) => require('./openTerminal.ts').openTerminal(...args);`,
    resolveDir: `${root}/src/${terminal}`,
  },
  outfile: `dist/${terminal}/openTerminal.js`,
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  external: ['rxjs'],
  plugins: [drawing],
  legalComments: 'inline',
  logLevel: 'warning',
};
const declaration = new URL(`../dist/${terminal}/openTerminal.d.ts`, import.meta.url);
const declared = await readFile(declaration);
await rm(new URL('.', declaration), { recursive: true });
const { metafile } = await build({ ...drawingOptions, write: false, metafile: true });
await build({ ...drawingOptions, banner: { js: `/*!\n${await licencesOf(Object.keys(metafile.inputs))}\n*/` } });
await writeFile(declaration, declared);

/** The licences of the packages that these files belong to; those that share one stand together. */
async function licencesOf(inputs) {
  const packages = new Set(inputs.flatMap((path) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? []));
  const namesByLicence = new Map();
  for (const folder of [...packages].sort()) {
    const file = (await readdir(new URL(`../${folder}`, import.meta.url))).find((name) => /^licen[cs]e/i.test(name));
    const text = (await readFile(new URL(`../${folder}/${file}`, import.meta.url), 'utf8')).trim();
    namesByLicence.set(text, [...(namesByLicence.get(text) ?? []), folder.replace(/^.*node_modules\//, '')]);
  }
  return [...namesByLicence]
    .map(
      ([text, names]) =>
        `${[...new Set(names)].join(', ')}, which ${names.length === 1 ? 'is' : 'are'} part of this file:\n\n${text}`,
    )
    .join('\n\n');
}
await chmod(new URL('../dist/cli/main.js', import.meta.url), 0o755);
