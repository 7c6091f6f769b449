import { DraftReader, type JobDrafts, type Member, type Place } from './jobDraft.js';
import type { JobProblems } from './jobProblems.js';
import { JSONFault, JSONReader } from './jsonReader.js';
import { lineFinder } from './lineFinder.js';

/** Reads a JSON document: a list of jobs, an object with `jobs` and `defaults`, or one job. A mistake in JSON ends it. */
export function readJSONDrafts(text: string, problems: JobProblems): JobDrafts {
  const drafts = new DraftReader(problems);
  const lineAt = lineFinder(text);
  const fault = faultIn(text);
  if (fault === undefined) drafts.add(placeAt(text, new JSONReader(text), lineAt), 'all');
  else if (text.trim() !== '') {
    const isAnother =
      fault.at > 0 && /^\s*[{[]/.test(text.slice(fault.at, fault.at + 1)) && wholeBefore(text, fault.at);
    const advice = isAnother ? '; is each line a job? Then its format is jsonl' : '';
    problems.add(lineAt(fault.at), `is not JSON: ${columnOf(text, fault)}${advice}`);
  }
  return drafts.drafts;
}

/** Reads JSON Lines: a job a line; the first may hold the defaults. Each line is read for itself. */
export function readJSONLinesDrafts(text: string, problems: JobProblems): JobDrafts {
  const drafts = new DraftReader(problems);
  let line = 0;
  for (const row of text.split(/\r\n|\n|\r/)) {
    line += 1;
    if (row.trim() === '') continue;
    const here = line;
    const fault = faultIn(row);
    if (fault === undefined)
      drafts.add(
        placeAt(row, new JSONReader(row), () => here),
        'jobs',
      );
    else {
      const isDocument = drafts.drafts.jobs.length === 0 && problems.count === 0 && /^\s*(?:\[|\{\s*$)/.test(row);
      const advice = isDocument ? '; is the file one document? Then its format is json' : '';
      problems.add(line, `is not JSON: ${columnOf(row, fault)}${advice}`);
    }
  }
  return drafts.drafts;
}

function faultIn(text: string): JSONFault | undefined {
  const reader = new JSONReader(text);
  try {
    reader.value();
    reader.end();
    return undefined;
  } catch (error) {
    if (error instanceof JSONFault) return error;
    throw error;
  }
}

function wholeBefore(text: string, at: number): boolean {
  return faultIn(text.slice(0, at)) === undefined;
}

function columnOf(text: string, { at, message }: JSONFault): string {
  const start = Math.max(text.lastIndexOf('\n', at - 1), text.lastIndexOf('\r', at - 1)) + 1;
  return `${message} (column ${String(at - start + 1)})`;
}

/** The value at which a reader stands, in JSON that was found to be right; passes it. */
function placeAt(text: string, reader: JSONReader, lineAt: (offset: number) => number): Place {
  const first = reader.peek();
  const from = reader.at;
  reader.value();
  const to = reader.at;
  const kind = first === '{' ? 'object' : first === '[' ? 'list' : text.startsWith('null', from) ? 'nothing' : 'other';
  return {
    line: lineAt(from),
    kind,
    items: () => {
      const inner = new JSONReader(text, from);
      const items: Place[] = [];
      inner.items(() => items.push(placeAt(text, inner, lineAt)));
      return items;
    },
    members: () => {
      const inner = new JSONReader(text, from);
      const members: Member[] = [];
      inner.members((name, keyAt) => {
        members.push({ name, line: lineAt(keyAt), place: placeAt(text, inner, lineAt) });
      });
      return members;
    },
    value: () => JSON.parse(text.slice(from, to)) as unknown,
  };
}
