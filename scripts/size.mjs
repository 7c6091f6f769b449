// What a page downloads: bundles the built package as a user's bundler does, and fails above a budget. Build first.
//
// The aims are 8 and 16 kB; the budgets stand just above what is reached, to be lowered with it. What only Node can know is left
// out already, and the templates, which pay where thousands of streams are decoded. What less would cost, in bytes of gzip that
// leaving it out saves, of 16,300 for the core and 32,000 with a dialect (November 2026):
//
//   3,000  the SSE parser: limits, linear cost however bytes are cut, re-entrant
//   2,700  the spine: pressure from sinks to sockets, proof of the end, position for a retry, shutdown
//   2,200  the decoder and its answer: proofs, restarts, what was received before an error
//   1,300  keys and prompts taken out of errors and warnings
//     900  the request's errors: their classes, when a connection was lost, and in whose words
//     800  errors' bodies read and explained, how long to wait
//     550  arguments that are checked when a function is called
//     350  the warning of a key in plain text
//   5,400  zod/mini, which is 3,100 for a single string and 4,700 for an object with optional members
//   1,200  the answer as the assistant's turn of the next request
//   1,000  matching what is told again, which the chat family has no use for
//     750  tool calls, 450 usage and cost, 400 thinking between tags
import { dirname } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

const core = `export { fromHTTP, parseSSE, decode, toTokens } from 'millrace';`;
const oneDialect = `${core} export { chatDialect } from 'millrace/providers';`;

const bundles = [
  { name: 'core: fromHTTP, parseSSE, decode, toTokens', entry: core, budget: 16_500 },
  { name: 'core, chatDialect and zod/mini', entry: oneDialect, budget: 32_500 },
];

/** Contributors that are listed. */
const LISTED = 12;

for (const { name, entry, budget } of bundles) {
  const { metafile, outputFiles } = await build({
    absWorkingDir: root,
    stdin: { contents: entry, resolveDir: root },
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    external: ['rxjs'],
    // Not the repository's own, whose paths lead to the sources.
    tsconfigRaw: '{}',
    metafile: true,
    write: false,
    logLevel: 'warning',
  });
  const [{ contents }] = outputFiles;
  const [{ inputs }] = Object.values(metafile.outputs);
  const bytes = gzipSync(contents, { level: 9 }).length;
  const isOver = bytes > budget;
  console.log(`${name}\n  ${kB(bytes)} gzip of ${kB(budget)}, ${kB(contents.length)} minified`);
  const contributors = Object.entries(inputs)
    .map(([path, { bytesInOutput }]) => [path.replace(/^.*node_modules\//, ''), bytesInOutput])
    .sort(([, a], [, b]) => b - a);
  for (const [path, size] of contributors.slice(0, LISTED)) console.log(`  ${kB(size).padStart(9)}  ${path}`);
  if (isOver) {
    console.error(`  over its budget by ${String(bytes - budget)} bytes`);
    process.exitCode = 1;
  }
}

function kB(bytes) {
  return `${(bytes / 1000).toFixed(2)} kB`;
}
