import { CsvError, parse } from 'csv-parse/sync';
import { cellValue, type FieldValue } from './jobFields.js';
import { type JobDraft, type JobDrafts, shownName } from './jobDraft.js';
import type { JobProblems } from './jobProblems.js';

/**
 * Reads a table: a row of names, then a job a row. A dotted name is a field in an object (`request.model`, `meta.title`). A cell is text, and a
 * number or `true` and `false` where a job's field is one; `request` and `input`, and every column whose name ends in `:json`, hold JSON. An
 * empty cell is no field.
 */
export function readCSVDrafts(text: string, problems: JobProblems): JobDrafts {
  const jobs: JobDraft[] = [];
  let columns: readonly Column[] | undefined;
  let isBroken = false;
  const content = Buffer.from(text);
  let [line, offset] = [1, 0];
  const read = (row: readonly string[], end: number): void => {
    const start = line;
    // The parser's own count takes CRLF in a cell for two lines.
    line += lineEndsIn(content, offset, end);
    offset = end;
    if (row.every((cell) => cell.trim() === '')) return; // as spreadsheets leave them at the end
    if (columns === undefined) {
      columns = columnsOf(row, start, problems);
      isBroken = problems.count > 0;
    } else if (!isBroken) {
      const before = problems.count;
      const fields = fieldsOf(row, columns, start, problems);
      if (problems.count === before) jobs.push({ line: start, fields, lineOf: () => start });
    }
  };
  try {
    parse(content, {
      relax_column_count: true, // told here, for every row
      record_delimiter: ['\r\n', '\n', '\r'],
      on_record: (row: string[], { bytes }) => {
        read(row, bytes);
        return null;
      },
    });
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    problems.add(line, `is not CSV: ${FAULTS[error.code] ?? 'the row that begins here is written wrongly'}`);
  }
  return { defaults: undefined, jobs };
}

function lineEndsIn(content: Uint8Array, from: number, to: number): number {
  let count = 0;
  for (let at = from; at < to; at += 1) {
    if (content[at] === 0x0a || (content[at] === 0x0d && content[at + 1] !== 0x0a)) count += 1;
  }
  return count;
}

/** The parser's messages quote cells. */
const FAULTS: Readonly<Partial<Record<string, string>>> = {
  CSV_QUOTE_NOT_CLOSED: 'in the row that begins here a cell in quotes does not end',
  CSV_INVALID_CLOSING_QUOTE:
    'in the row that begins here something follows the end of a cell in quotes; a quote inside is doubled',
  INVALID_OPENING_QUOTE:
    'in the row that begins here a quote stands inside a cell; such a cell is put in quotes, and the quote doubled',
};

interface Column {
  /** As it stands in the first row. */
  readonly name: string;
  /** Empty for a column without a name. */
  readonly path: readonly string[];
  readonly isJSON: boolean;
}

function columnsOf(row: readonly string[], line: number, problems: JobProblems): readonly Column[] {
  const columns = row.map((cell): Column => {
    const name = cell.trim();
    const isJSON = name.endsWith(':json');
    const path = name === '' ? [] : name.replace(/:json$/, '').split('.');
    if (path.includes('')) problems.add(line, `${shownName(name)}: a name in the first row is empty`);
    return { name, path, isJSON };
  });
  const known = new Set<string>();
  for (const { name, path } of columns) {
    if (path.length === 0) continue;
    const dotted = path.join('.');
    const clash = [...known].find(
      (other) => other === dotted || other.startsWith(`${dotted}.`) || dotted.startsWith(`${other}.`),
    );
    if (clash === dotted) problems.add(line, `${shownName(name)}: stands in the first row twice`);
    else if (clash !== undefined) problems.add(line, `${shownName(name)}: cannot stand beside ${shownName(clash)}`);
    known.add(dotted);
  }
  const [only] = row;
  if (row.length === 1 && only !== undefined && /[;\t|]/.test(only)) {
    problems.add(line, 'the first row is one name; cells are told apart by commas');
  }
  return columns;
}

function fieldsOf(
  row: readonly string[],
  columns: readonly Column[],
  line: number,
  problems: JobProblems,
): Readonly<Record<string, unknown>> {
  const fields: Record<string, unknown> = {};
  for (const [at, cell] of row.entries()) {
    const { name, path, isJSON } = columns[at] ?? NO_COLUMN;
    if (cell === '') continue;
    if (path.length === 0) {
      const what =
        at < columns.length ? 'whose column has no name' : `behind the last of the ${String(columns.length)} columns`;
      problems.add(line, `has a cell ${what}; is a cell with a comma not in quotes?`);
      break;
    }
    const { value, problem }: FieldValue = cellValue(path, cell, isJSON);
    if (problem !== undefined) problems.add(line, `${shownName(name)}: ${problem}`);
    else place(fields, path, value);
  }
  return fields;
}

const NO_COLUMN: Column = { name: '', path: [], isJSON: false };

/** Puts a value into nested objects; names like `__proto__` are fields as any other. */
function place(fields: Record<string, unknown>, path: readonly string[], value: unknown): void {
  let parent = fields;
  for (const name of path.slice(0, -1)) {
    if (!Object.hasOwn(parent, name)) define(parent, name, {});
    parent = parent[name] as Record<string, unknown>; // no other column names it, as the first row was found to say
  }
  define(parent, path.at(-1) ?? '', value);
}

function define(parent: object, name: string, value: unknown): void {
  Object.defineProperty(parent, name, { value, enumerable: true, configurable: true, writable: true });
}
