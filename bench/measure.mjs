// Measures the cases of a group side by side: round by round, one after the other, each in its own process.
import { METRICS } from './metrics.mjs';
import { Program } from './program.mjs';
import { median, spread } from './statistics.mjs';

/**
 * Pipelines that do the same work.
 *
 * @typedef {object} Group
 * @property {string} row - the row's name on the command line
 * @property {string} title
 * @property {readonly Case[]} cases
 * @property {readonly Table[]} tables - what is told of them
 * @property {object} [settings] - where the group needs other rounds than the rest
 *
 * @typedef {object} Case
 * @property {string} name
 * @property {string} pipeline - a file of `pipelines/`
 * @property {object} params
 * @property {boolean} [isOurs] - measured for `--base` too, and profiled
 *
 * @typedef {object} Table
 * @property {string} metric - a key of `metrics.mjs`
 * @property {readonly Comparison[]} comparisons
 *
 * @typedef {object} Comparison - the ratio `of` / `to`
 * @property {string} on - the case beside which it stands
 * @property {string} of
 * @property {string} to
 * @property {number} [atLeast]
 * @property {number} [atMost]
 */

/** Measures a group; gives its tables as they stand in `results.json`. */
export async function measure(group, { settings, base, profile, calibrate, onProgress }) {
  const { rounds, cpuMillis, warmUpMillis, wallMillis } = { ...settings, ...group.settings };
  const cases = group.cases.flatMap((one) =>
    base !== undefined && one.isOurs ? [one, { ...one, name: baseName(one.name), dist: base }] : [one],
  );
  const programs = cases.map(
    ({ name, dist, isOurs }) => new Program({ name, title: group.title, dist, profile: isOurs ? profile : undefined }),
  );
  const results = cases.map(() => []);
  try {
    await Promise.all(programs.map((program, at) => program.prepare(cases[at].pipeline, cases[at].params)));
    if (warmUpMillis !== undefined) {
      for (const program of programs) await program.round({ cpuMillis: warmUpMillis, wallMillis: warmUpMillis * 10 });
    }
    for (let round = 0; round < rounds; round += 1) {
      onProgress?.(`${group.title}: round ${round + 1} of ${rounds}`);
      calibrate?.();
      for (const [at, program] of programs.entries()) {
        results[at].push(await program.round({ cpuMillis, wallMillis }));
      }
    }
  } finally {
    await Promise.all(programs.map((program) => program.stop()));
  }
  return group.tables.map((table) => tabulate(group, table, cases, results, base !== undefined));
}

const baseName = (name) => `${name}, base`;

function tabulate({ row, title }, { metric, comparisons }, cases, results, hasBase) {
  const { of, unit, title: measured } = METRICS[metric];
  const medians = new Map();
  const lines = cases.map(({ name }, at) => {
    const values = results[at].map(of);
    medians.set(name, median(values));
    const { share } = results[at].at(-1).values ?? {};
    return { name, median: median(values), spread: spread(values), rounds: values, share };
  });
  const withBase = hasBase
    ? cases
        .filter(({ isOurs, dist }) => isOurs && dist === undefined)
        .map(({ name }) => ({ on: baseName(name), of: baseName(name), to: name }))
    : [];
  for (const { on, of: above, to, atLeast, atMost } of [...comparisons, ...withBase]) {
    const line = lines.find(({ name }) => name === on);
    const ratio = medians.get(above) / medians.get(to);
    const isMet =
      atLeast === undefined && atMost === undefined
        ? undefined
        : ratio >= (atLeast ?? 0) && ratio <= (atMost ?? Infinity);
    line.ratio = { of: above, to, value: ratio, atLeast, atMost, isMet };
  }
  return { row, title, metric, measured, unit, lines };
}
