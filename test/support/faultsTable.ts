import { fileURLToPath } from 'node:url';
import { format as prettify, resolveConfig } from 'prettier';
import { type Case, type FaultRow, points, type Seen } from './faultPlay.js';
import { inBandPlaces } from './faultsOfContent.js';
import { variants } from './variants.js';

/** Where the document is. */
export const DOCUMENT: string = fileURLToPath(new URL('../../docs/faults.md', import.meta.url));

/** What writes it. */
export const COMMAND = 'npm run docs:faults';

/** Faults of a kind. */
export interface FaultGroup {
  readonly title: string;
  /** What the columns are. `'points'`: places in an answer. `'in band'`: the same, and who was asked. None: one for all. */
  readonly columns?: 'points' | 'in band' | undefined;
  readonly rows: readonly FaultRow[];
}

/** A row, as it was played. */
export interface PlayedRow {
  readonly row: FaultRow;
  readonly all: readonly { readonly each: Case; readonly seen: Seen }[];
}

const NAMES: Readonly<Record<string, string>> = {
  ERR_INTERRUPTED: 'InterruptedError',
  ERR_STREAM_TIMEOUT: 'StreamTimeoutError',
  ERR_PROTOCOL: 'ProtocolError',
  ERR_HTTP: 'HTTPError',
  ERR_LIMIT: 'LimitError',
  ERR_PROVIDER: 'ProviderError',
  ERR_SINK: 'SinkError',
  ERR_ABORTED: 'AbortError',
};

/** One ending in the words of the document. */
function wordsOf({ end, of, isRetryable, connection }: Seen): string {
  const what = [NAMES[end] ?? end, of].filter((part) => part !== undefined).join(' ');
  return `${what}${isRetryable === true ? ' ↻' : ''}${connection === 'kept' ? ' ○' : ''}`;
}

/** What most of them saw, and who saw something else. */
function cellOf(all: PlayedRow['all']): string {
  const names: Map<string, string[]> = new Map();
  for (const { each, seen } of all) {
    const words = wordsOf(seen);
    names.set(words, [...(names.get(words) ?? []), each.variant.name]);
  }
  if (names.size === 0) return '';
  const [most, ...others] = [...names].sort(
    ([a, first], [b, second]) => second.length - first.length || (a < b ? -1 : 1),
  );
  const exceptions = others.map(([words, who]) => `${words}: ${peopleOf(who)}`);
  return [most![0], ...exceptions].join('; ');
}

/** Names of variants, in their order. */
function peopleOf(names: readonly string[]): string {
  const ordered = variants.map(({ name }) => name).filter((name) => names.includes(name));
  return ordered.length === variants.length ? 'all' : ordered.join(', ');
}

function tableOf({ columns }: FaultGroup, played: readonly PlayedRow[]): string {
  if (columns === 'points') {
    const rows = played.map(({ row, all }) => [
      row.fault,
      ...points.map((point) => cellOf(all.filter(({ each }) => each.point === point))),
    ]);
    // A fault that has no place, such as one byte at a time, is played to the whole answer.
    const whole = played.map(({ all }) => cellOf(all.filter(({ each }) => each.point === undefined)));
    return table(
      ['fault', ...points, 'all along'],
      rows.map((row, index) => [...row, whole[index]]),
    );
  }
  if (columns === 'in band') {
    const rows: string[][] = [];
    for (let i = 0; i < played.length; i += inBandPlaces.length) {
      const places = played.slice(i, i + inBandPlaces.length);
      const shape = places[0]!.row.fault.slice(0, -`, ${inBandPlaces[0]}`.length);
      const who = peopleOf(places[0]!.all.map(({ each }) => each.variant.name));
      rows.push([shape, who, ...places.map(({ all }) => cellOf(all))]);
    }
    return table(['what is sent', 'by', ...inBandPlaces], rows);
  }
  return table(
    ['fault', 'ends as', 'requests'],
    played.map(({ row, all }) => [row.fault, cellOf(all), all.length]),
  );
}

function table(head: readonly string[], rows: readonly (readonly unknown[])[]): string {
  return [head, head.map(() => '---'), ...rows]
    .map((cells) => `| ${cells.map((cell) => String(cell).replaceAll('|', '\\|')).join(' | ')} |`)
    .join('\n');
}

/** The document, in prettier's form. */
export async function writeFaults(
  groups: readonly { readonly group: FaultGroup; readonly played: readonly PlayedRow[] }[],
): Promise<string> {
  const sections = groups.map(
    ({ group, played }) => `## ${group.title}\n\n${NOTES[group.title] ?? ''}\n\n${tableOf(group, played)}`,
  );
  const counts = groups.map(({ group, played }) => [
    group.title,
    played.length,
    played.reduce((sum, { all }) => sum + all.length, 0),
  ]);
  const sum = (column: 1 | 2): number => counts.reduce((total, row) => total + Number(row[column]), 0);
  const text = `
# Faults, and how they end

What becomes of a request when something goes wrong: each fault is played on a real socket, to every way of every provider to stream
(${String(variants.length)} of them), at each place of an answer where it makes sense. Written by \`${COMMAND}\` from what was seen; \`npm test\` plays all
of it again and compares.

## How to read the tables

- A word such as \`complete\` is the outcome of the receipt. A class is that of the error; behind it stands what its class is about: where the
  connection was lost, which clock ran out, which limit was passed, which status came, which code the system gave.
- ↻ marks an error for which \`isRetryable\` says yes.
- ○ marks a connection that is kept for the next request. Every other one was closed by the client: at once, or within the 100 ms in which
  the rest of an answer is read behind its proven end.
- Of what most of the ways do the exceptions follow, with their names. An empty cell is a fault that cannot be there.
- *The proof* is the frame by which a provider says that its answer is whole. *Behind the proof* is inside what some send after it, such as
  \`[DONE]\`.

For each request the suite also asserts: an error is one of millrace's own and has \`received\`; that text is a beginning of the text that was
sent, and all of what whole frames before the fault said is in it; the receipt counts the same; neither message nor stack has the key; no timer
is left. A stream that was cut before its proof is complete nowhere.

${sections.join('\n\n')}

## In numbers

${table(['kind', 'faults', 'requests'], [...counts, ['all', sum(1), sum(2)]])}
`;
  return prettify(text, { ...(await resolveConfig(DOCUMENT)), filepath: DOCUMENT });
}

const NOTES: Readonly<Partial<Record<string, string>>> = {
  'The connection':
    'Clocks: `timeout({ headersMs, wireIdleMs })`, or `headersTimeoutMs` and `bodyTimeoutMs`, which are the client’s own (300 s each by default; the ' +
    'message names the option that lifts it). Behind the proof some go on reading, for usage, for an error, or because their format has no ' +
    'marker: what breaks the rules of HTTP there is told; what only cuts the stream takes nothing away. A fault inside one piece of gzip takes ' +
    'with it what that piece held.',
  'The reader leaves':
    'The socket is destroyed in the turn of the event loop in which the reader leaves, and nothing is heard afterwards, whatever the server ' +
    'goes on sending.',
  'No connection': 'Nothing was sent, so nothing was billed.',
  Redirects:
    'No header of the caller’s and no body goes to another origin; the redirected request of these tests answers 500 where one did. ' +
    'A POST stays a POST or is refused, but for a 303.',
  'What comes with a status from 400': 'A delay is `retryAfterMs` of the error: never negative, at most 2,147,483,647.',
  'The request that creates the work': 'Asked of those that submit first and stream then.',
  Frames: 'Put between two frames of text, in an answer that is otherwise whole.',
  Sizes: 'With `maxLineBytes: 4096` and `maxEventBytes: 8192`; the defaults are 67,108,864.',
  'Failures told in the stream':
    'In every shape of each provider. A failure goes before everything but an end that is final.',
  Files: '`toFile`. Nothing that is not whole gets the name of the file; what was written stays in `.partial`.',
  Outputs: '`toStdout`. A reader that has gone is an ending, not a failure.',
};
