import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it, type MockInstance, vi } from 'vitest';
import { type EndingCase, WHOLE } from '../support/endingCases.js';
import {
  askClient,
  askMillrace,
  clientsOf,
  comparedFormats,
  type Ending,
  type Played,
  playEnding,
} from '../support/endings.js';
import { COMMAND, DOCUMENT, tally, writeEndings } from '../support/endingsTable.js';
import type { WireFormat } from '../support/officialClients.js';
import { recorded, type Recording, recordings } from '../support/shared.js';

const cases = comparedFormats.flatMap((format) => format.cases);
const played: Map<EndingCase, Promise<Ending>> = new Map();

/** Each case is played once, by the test that needs it first. */
function endingOf(ending: EndingCase): Promise<Ending> {
  const known = played.get(ending) ?? playEnding(ending);
  played.set(ending, known);
  return known;
}

async function allEndings(): Promise<readonly Ending[]> {
  const all: Ending[] = [];
  for (const ending of cases) all.push(await endingOf(ending));
  return all;
}

/** Clients that do not read a form which other servers send. */
const NOT_READ: ReadonlyMap<string, string> = new Map([
  // The content is a list of parts, which OpenAI's API never sends.
  ['mistral/magistral-thinking.sse', 'chat.completions.stream'],
]);

// The ollama client warns of lines that it skips.
let warn: MockInstance<typeof console.warn>;
beforeAll(() => {
  warn = vi.spyOn(console, 'warn').mockImplementation(() => undefined);
});
afterAll(() => {
  warn.mockRestore();
});

describe('the official clients and millrace, on the same bytes', () => {
  it.each(cases)('ends as it should where millrace reads it: $format, $sent', async (ending) => {
    const { millrace } = await endingOf(ending);
    expect(millrace).toEqual(ending.millrace);
  });

  it.each(comparedFormats)('gives the same text of a whole answer: $title', async ({ cases: [whole] }) => {
    const { ending, clients, millrace } = await endingOf(whole!);
    expect(ending.truth).toBe('whole');
    expect(clients.map(({ verdict }) => verdict)).toEqual(clients.map(() => ({ outcome: 'success', text: WHOLE })));
    expect(millrace).toStrictEqual({ outcome: 'complete', text: WHOLE });
  });

  it('is never told as complete by millrace where it is not', async () => {
    const [millrace, ...clients] = [...tally(await allEndings())].reverse();
    const sum = (member: 'streams' | 'successes'): string =>
      String(clients.reduce((total, each) => total + each[member], 0));
    expect(millrace).toMatchObject({ name: 'millrace', successes: 0 });
    console.log(
      `official clients: ${sum('successes')} of ${sum('streams')} streams that are not whole told as a success; ` +
        `millrace: ${String(millrace?.successes)} of ${String(millrace?.streams)}`,
    );
  });

  it('stands in docs/endings.md as it is', async () => {
    const written = await writeEndings(await allEndings());
    if (process.env['MILLRACE_ENDINGS'] === 'write') writeFileSync(DOCUMENT, written);
    const document = existsSync(DOCUMENT) ? readFileSync(DOCUMENT, 'utf8') : '';
    const withoutNode = (text: string): string => text.replace(/Node\.js\s[\d.]+\d/, 'Node.js');
    expect(withoutNode(document), `docs/endings.md is not what was seen: run ${COMMAND}`).toBe(withoutNode(written));
  });
});

describe('recorded streams', () => {
  const recordedFormats: readonly WireFormat[] = ['chat', 'completion', 'responses', 'anthropic', 'gemini'];

  it.each(recordedFormats)('have the same text for each client that accepts them: %s', async (format) => {
    const own = recordings(format);
    const accepted: Set<string> = new Set();
    for (const recording of own) {
      const stream = playedOf(recording, format);
      const millrace = await askMillrace(stream, format);
      expect(millrace.outcome, recording.file).toBe(recording.outcome);
      for (const client of clientsOf(format)) {
        if (NOT_READ.get(recording.file) === client.name) continue;
        const { outcome, text } = await askClient(stream, client);
        if (outcome === 'error') continue;
        expect(text, `${recording.file}, ${client.name}`).toBe(millrace.text);
        accepted.add(client.name);
      }
    }
    // None where the folder is not beside the repository.
    expect(accepted).toEqual(new Set(own.length === 0 ? [] : clientsOf(format).map(({ name }) => name)));
  });
});

function playedOf(recording: Recording, format: WireFormat): Played {
  const bytes = recorded(recording);
  const body = recording.storage === 'raw-sse' ? bytes : framed(bytes.toString(), format);
  return { pieces: [{ bytes: body }], end: 'told', contentType: 'text/event-stream' };
}

/** Of some recordings only the JSON was kept; the names of the events were those of its type. */
function framed(lines: string, format: WireFormat): string {
  return lines
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const { type } = JSON.parse(line) as { readonly type?: string };
      return `${format === 'gemini' ? '' : `event: ${String(type)}\n`}data: ${line}\n\n`;
    })
    .join('');
}
