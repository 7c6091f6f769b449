// Builds the package into dist: plain tsc for the library, esbuild for the command line, whose helpers are bundled so that
// installing the package pulls none of them, nor the lexer of the JSON reader or what draws on a terminal.
import { spawnSync } from 'node:child_process';
import { chmod, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');

await rm(new URL('../dist', import.meta.url), { recursive: true, force: true });

const compiled = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.build.json'], { cwd: root, stdio: 'inherit' });
if (compiled.status !== 0) process.exit(compiled.status ?? 1);

// The library itself stays outside the bundle: the command line imports what a user imports. What a command needs that others do
// not is in a file of its own, so that `ask` starts without the readers of YAML and CSV.
const cli = join(root, 'src/cli');
const drawn = join(root, 'src/internal/node/terminal');
const ownModules = {
  name: 'own-modules',
  setup({ onResolve }) {
    onResolve({ filter: /^\.\.?\// }, ({ path, resolveDir, kind }) => {
      const target = join(resolveDir, path);
      const isOurs = [cli, drawn].some((folder) => resolveDir.startsWith(folder));
      // What draws is one file in the library, see below; the command line has the rest of its parts for itself.
      const isPart = target.startsWith(`${drawn}/`) && !target.endsWith('/openTerminal.js');
      if (kind === 'entry-point' || !isOurs || isPart || target.startsWith(`${cli}/`)) return undefined;
      return { path: relative(cli, target).split(sep).join('/'), external: true };
    });
  },
};
const chart = (file) => readFile(new URL(`../node_modules/uplot/${file}`, import.meta.url), 'utf8');
const chartLibrary = {
  script: await chart('dist/uPlot.iife.min.js'),
  style: await chart('dist/uPlot.min.css'),
  licence: await chart('LICENSE'),
};
const { metafile: bundled } = await build({
  absWorkingDir: root,
  entryPoints: ['src/cli/main.ts'],
  metafile: true,
  outdir: 'dist/cli',
  splitting: true,
  chunkNames: '[name]-[hash]',
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  external: ['rxjs', 'undici', 'zod'],
  plugins: [ownModules],
  define: { MILLRACE_CHART_LIBRARY: JSON.stringify(chartLibrary) },
  // CommonJS modules inside an ES module ask for Node's own by `require`.
  banner: {
    js: "import { createRequire as makeRequire } from 'node:module';\nconst require = makeRequire(import.meta.url);",
  },
  legalComments: 'inline',
  logLevel: 'warning',
});
await writeFile(
  new URL('../dist/cli/LICENSES.txt', import.meta.url),
  `${await licencesOf([...Object.keys(bundled.inputs), 'node_modules/uplot/'], 'these files')}\n`,
);

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
    contents: ['openTerminal', 'openRows']
      .map((name) => `export const ${name} = (...args) => require('./openTerminal.ts').${name}(...args);`)
      .join('\n'),
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
async function licencesOf(inputs, what = 'this file') {
  const packages = new Set(inputs.flatMap((path) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? []));
  const namesByLicence = new Map();
  for (const folder of [...packages].sort()) {
    const file = (await readdir(new URL(`../${folder}`, import.meta.url))).find((name) => /^licen[cs]e/i.test(name));
    const text = await readFile(new URL(`../${folder}/${file ?? 'package.json'}`, import.meta.url), 'utf8');
    // One of them says it in its description alone.
    const licence = file === undefined ? `The licence ${JSON.parse(text).license}.` : text.trim();
    namesByLicence.set(licence, [...(namesByLicence.get(licence) ?? []), folder.replace(/^.*node_modules\//, '')]);
  }
  return [...namesByLicence]
    .map(
      ([text, names]) =>
        `${[...new Set(names)].join(', ')}, which ${names.length === 1 ? 'is' : 'are'} part of ${what}:\n\n${text}`,
    )
    .join('\n\n');
}
await chmod(new URL('../dist/cli/main.js', import.meta.url), 0o755);
