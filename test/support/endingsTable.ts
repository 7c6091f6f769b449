import { format as prettify, resolveConfig } from 'prettier';
import { fileURLToPath } from 'node:url';
import { type EndingCase, WHOLE } from './endingCases.js';
import { clientsOf, comparedFormats, type Ending, type MillraceVerdict, type Verdict } from './endings.js';
import { versionOf, type WireFormat } from './officialClients.js';

/** Where the document is. */
export const DOCUMENT: string = fileURLToPath(new URL('../../docs/endings.md', import.meta.url));

/** What writes it. */
export const COMMAND = 'npm run docs:endings';

/** How one reader did on the streams whose answer is not whole. */
export interface Tally {
  readonly name: string;
  /** Streams that are cut, that failed, or that are whole and were read in part. */
  readonly streams: number;
  /** How many of them it reported as a success. */
  readonly successes: number;
  /** In how many of these the result itself tells that it is not whole. */
  readonly signs: number;
}

/** The document, in prettier's form; the same for the same endings but for the version of Node. */
export async function writeEndings(endings: readonly Ending[]): Promise<string> {
  const sections = comparedFormats.map(({ format, title, sign }) => {
    const clients = clientsOf(format);
    const rows = endings
      .filter(({ ending }) => ending.format === format)
      .map((row) => [
        row.ending.truth === 'open' ? `○ ${row.ending.sent}` : row.ending.sent,
        ...row.clients.map(({ verdict }) => clientCell(row.ending, verdict)),
        millraceCell(row),
      ]);
    const head = ['sent', ...clients.map(({ name, packageName }) => `${packageName} \`${name}\``), 'millrace'];
    return `## ${title}\n\nIts end is told by ${sign}.\n\n${table(head, rows)}`;
  });
  const tallies = tally(endings).map(({ name, streams, successes, signs }) => [name, streams, successes, signs]);
  const packages = [...new Set(endings.flatMap(({ clients }) => clients.map(({ client }) => client.packageName)))];
  const notes = NOTES.filter(({ formats }) => comparedFormats.some(({ format }) => formats.includes(format)));
  const text = `
# How streams end

What the official clients and millrace say of the same bytes. Written by \`${COMMAND}\`, which plays each stream to each reader from a
server on the loopback interface; \`npm test\` plays them again and compares. The streams are short and of our own wording; their shapes are
those of the providers' documentation and of streams that were recorded.

Readers: ${packages.map((name) => `${name} ${versionOf(name)}`).join(', ')}; each with its defaults but for the address, retries
and logging switched off, on the \`fetch\` of Node.js ${process.versions.node}. millrace reads with \`fromCall\` and its dialect of the format.

## How to read the tables

- A whole answer is ${String(WHOLE.length)} characters of text: "${WHOLE}". The number in a cell is how many of them the reader had given when it
  was over.
- \`success\`: the iterator ended, or the promise was fulfilled, without an error. Else the class of the error stands there.
- † marks a success for a stream that was cut, that failed, or of which text is missing. Where the result itself tells it in
  another way, this stands behind it.
- Rows that begin with ○ are a matter of choice and have no mark: the whole text without the sign of its end, that sign without a reason, and
  tool arguments that the model itself left unfinished.
- millrace: the outcome of the receipt and the error's code; \`received\` of the error holds as much text as the number says.

${sections.join('\n\n')}

## Notes

${notes.map(({ text }) => `- ${text}`).join('\n')}

## In numbers

Without the rows of choice:

${table(['reader', 'streams that are not whole, or not read whole', 'told as a success', 'of these with a sign in the result'], tallies)}
`;
  return prettify(text, { ...(await resolveConfig(DOCUMENT)), filepath: DOCUMENT });
}

/** How often each reader reported success for what is not whole; millrace last. */
export function tally(endings: readonly Ending[]): readonly Tally[] {
  const judged = endings.flatMap(({ ending, clients, millrace }) => [
    ...clients.map(({ client, verdict }) => ({
      name: `${client.packageName} \`${client.name}\``,
      ending,
      text: verdict.text,
      isSuccess: verdict.outcome === 'success',
      hasSign: verdict.sign !== undefined,
    })),
    { name: 'millrace', ending, text: millrace.text, isSuccess: millrace.outcome === 'complete', hasSign: false },
  ]);
  const names = new Set(judged.map(({ name }) => name));
  names.delete('millrace');
  return [...names, 'millrace'].map((name) => {
    const own = judged.filter((each) => each.name === name && !isWhole(each.ending, each.text));
    const successes = own.filter(({ isSuccess }) => isSuccess);
    return {
      name,
      streams: own.length,
      successes: successes.length,
      signs: successes.filter(({ hasSign }) => hasSign).length,
    };
  });
}

/** Whether success is the right word, or a matter of choice. */
function isWhole({ truth }: EndingCase, text: string): boolean {
  return truth === 'open' || (truth === 'whole' && text === WHOLE);
}

function clientCell(ending: EndingCase, { outcome, text, error, sign }: Verdict): string {
  const chars = String(text.length);
  if (outcome === 'error') return error === 'object' ? `an object ${chars}` : `\`${error ?? ''}\` ${chars}`;
  const mark = isWhole(ending, text) ? '' : ' †';
  return `success ${chars}${mark}${sign === undefined ? '' : `, ${sign}`}`;
}

function millraceCell({ ending, millrace }: Ending): string {
  const { outcome, text, code, warnings = [] }: MillraceVerdict = millrace;
  const mark = outcome === 'complete' && !isWhole(ending, text) ? ' †' : '';
  const facts = [code, ...warnings.map((warning) => `warning ${warning}`)].filter((fact) => fact !== undefined);
  return [`${outcome} ${String(text.length)}${mark}`, ...facts].join(', ');
}

function table(head: readonly string[], rows: readonly (readonly unknown[])[]): string {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.map(String).join(' | ')} |`).join('\n');
}

/** What a reader of the tables should know of a client; in the document where a format is compared that it reads. */
const NOTES: readonly { readonly formats: readonly WireFormat[]; readonly text: string }[] = [
  {
    formats: ['chat', 'responses', 'anthropic', 'gemini'],
    text:
      'The functions named `create`, and `generateContentStream`, are iterators of frames: they hand on each one and end with the body. A caller ' +
      'who looks for the finish reason, or at the type of each event, can tell the end from a cut.',
  },
  {
    formats: ['chat', 'anthropic', 'ollama'],
    text: '`chat.completions.stream` asks for a finish reason of every choice, `messages.stream` for `message_stop`, and the client of ollama for `done`.',
  },
  {
    formats: ['chat'],
    text: 'Tool arguments: OpenAI documents that a model may write invalid JSON and that the caller checks it. millrace checks it.',
  },
  {
    formats: ['responses'],
    text:
      '`responses.stream`: `finalResponse()` gives the response as it was told last, and `status` says how far it had come. At an `error` event it ' +
      'rejects with the event itself, which is no `Error`.',
  },
  {
    formats: ['anthropic', 'gemini'],
    text:
      "Anthropic's API names every event, and its client reads the named ones only. Google's client reads blocks that begin with `data:`. The other " +
      'forms come from proxies, not from these providers.',
  },
  {
    formats: ['gemini'],
    text:
      "Google's client looks for a bare JSON error in each read by itself, so what it says depends on the packets. millrace reads lines, and a bare " +
      'error without a line end is no line: the answer is interrupted, and the error is not told.',
  },
  { formats: ['ollama'], text: 'The client of ollama skips a line that is no JSON, and warns on the console.' },
  {
    formats: ['ui'],
    text: '`readUIMessageStream` tells errors to `onError`, which counts as an error here, and goes on reading after an `error` part.',
  },
  {
    formats: ['anthropic', 'responses'],
    text:
      "Without Anthropic's `message_stop` or OpenAI's `response.completed` millrace says `interrupted`, since these are the documented signs, and " +
      'gives the text in `received`.',
  },
];
