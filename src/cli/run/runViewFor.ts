import type { CLIContext } from '../context.js';
import { colorsFor } from '../context.js';
import { jsonRunView } from './jsonRunView.js';
import { liveRunView } from './liveRunView.js';
import { plainRunView } from './plainRunView.js';
import type { RunStart, RunView } from './runView.js';

/** Fewer columns or rows than that hold no row and no bar. */
const MIN_COLUMNS = 24;
const MIN_ROWS = 4;

/**
 * The view that fits the output: JSON or lines where they were asked for; rows on a terminal that a person sits at; lines for a pipe, for the log of a CI
 * job, and for a terminal that is too small or cannot move its cursor.
 */
export function runViewFor(
  { stdout, env }: Pick<CLIContext, 'stdout' | 'env'>,
  start: RunStart,
  { json, plain }: { readonly json?: boolean | undefined; readonly plain?: boolean | undefined } = {},
): RunView {
  if (json === true) return jsonRunView(stdout, start);
  const { CI: ci = '', TERM: term } = env;
  const isForPersons = (ci === '' || ci === '0' || ci === 'false') && term !== 'dumb';
  const { columns = 80, rows = 24 } = stdout;
  const isRoomy = (columns === 0 || columns >= MIN_COLUMNS) && (rows === 0 || rows >= MIN_ROWS); // 0: not known
  if (plain !== true && stdout.isTTY === true && isForPersons && isRoomy)
    return liveRunView(stdout, start, colorsFor(stdout, env));
  return plainRunView(stdout, start);
}
