// The page about a run, from its results alone.
import { cellsOf } from './table.mjs';
import { wordsOf } from './words.mjs';

/** The page, not yet formatted. */
export function markdownOf(results) {
  const sections = Object.entries(grouped(results.tables));
  return `# Benchmarks

What millrace costs beside other ways to read the same streams, and beside the least that Node allows. Written by
\`npm run bench -- --write\` from \`bench/results.json\`; nothing here is written by hand.

![Processor time per token, by client](benchmarks.svg)

${machineOf(results)}

**Median** is of ${String(results.settings.rounds)} rounds, ${String(results.settings.pacedRounds)} of the streams at a pace. In each round
the pipelines of a table run one after the other, each in a process of its own that is warm; the server has another process.
Processor time is that of the client's whole process, kernel and garbage collector included. **Spread** is the median distance
from the median. A **ratio** names what the number is compared with; _this_ is the line it stands in.

${sections.map(([row, tables]) => sectionOf(row, tables)).join('\n\n')}
`;
}

function grouped(tables) {
  const rows = {};
  for (const table of tables) (rows[table.row] ??= []).push(table);
  return rows;
}

function machineOf({ date, machine, noise }) {
  const { cpu, cores, memoryGiB, system, node, commit, versions } = machine;
  const named = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  const lines = [
    `Measured on ${date.slice(0, 10)}, commit ${commit ?? 'unknown'}: ${cpu}, ${cores} cores, ${memoryGiB} GiB, ${system}, Node ${node}.`,
    `${named.join(', ')}.`,
    ...noise.warnings.map((warning) => `The machine was noisy: ${warning}.`),
  ];
  return lines.join('\n');
}

function sectionOf(row, tables) {
  const { heading, about } = wordsOf(row);
  return [`## ${heading}`, about, ...tables.map(tableOf)].join('\n\n');
}

function tableOf({ title, measured, unit, lines }) {
  const hasRatio = lines.some(({ ratio }) => ratio !== undefined);
  const width = hasRatio ? 6 : 3;
  const row = (cells) => `| ${cells.slice(0, width).join(' | ')} |`;
  const head = row([measured, 'median', 'spread', 'ratio', 'target', '']);
  const rule = row(['---', '---:', '---:', '---', '---', '---']);
  return [`**${title}**`, [head, rule, ...lines.map((line) => row(cellsOf(line, unit)))].join('\n')].join('\n\n');
}
