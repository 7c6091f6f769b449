import { BehaviorSubject, filter, firstValueFrom, tap } from 'rxjs';
import { isMillraceError } from '../../src/errors.js';
import type { Call } from '../../src/protocol/call.js';
import type { Dialect } from '../../src/protocol/dialect.js';
import { aiSDKDialect } from '../../src/providers/aiSDKDialect.js';
import { anthropicDialect } from '../../src/providers/anthropicDialect.js';
import { chatDialect } from '../../src/providers/chatDialect.js';
import { geminiDialect } from '../../src/providers/geminiDialect.js';
import { ollamaDialect } from '../../src/providers/ollamaDialect.js';
import { responsesDialect } from '../../src/providers/responsesDialect.js';
import { collect } from '../../src/sinks/collect.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { startServer } from '../../src/testing/index.js';
import type { Outcome, Receipt } from '../../src/types.js';
import { type EndingCase, type EndingFormat, endingFormats } from './endingCases.js';
import { type OfficialClient, officialClients, type OnText, type WireFormat } from './officialClients.js';

/** What a client said of a stream. */
export interface Verdict {
  readonly outcome: 'success' | 'error';
  readonly text: string;
  /** The error's class. */
  readonly error?: string | undefined;
  /** What tells in the result of a success that it is not whole. */
  readonly sign?: string | undefined;
}

/** The same of millrace, in its own words. */
export interface MillraceVerdict {
  readonly outcome: Outcome;
  readonly text: string;
  readonly code?: string | undefined;
  readonly warnings?: readonly string[] | undefined;
}

/** One case, as all readers saw it. */
export interface Ending {
  readonly ending: EndingCase;
  /** In the order of `clientsOf`. */
  readonly clients: readonly { readonly client: OfficialClient; readonly verdict: Verdict }[];
  readonly millrace: MillraceVerdict;
}

/** What is played to a reader. */
export type Played = Pick<EndingCase, 'pieces' | 'end' | 'contentType'>;

const dialects: Readonly<Partial<Record<WireFormat, Dialect>>> = {
  chat: chatDialect(),
  completion: chatDialect(),
  responses: responsesDialect(),
  anthropic: anthropicDialect(),
  gemini: geminiDialect(),
  ollama: ollamaDialect(),
  ui: aiSDKDialect(),
};

/** What is compared: the formats for which millrace has a dialect. */
export const comparedFormats: readonly EndingFormat[] = endingFormats.filter(
  ({ format }) => dialects[format] !== undefined,
);

/** The official clients of a format. */
export function clientsOf(format: WireFormat): readonly OfficialClient[] {
  return officialClients.filter((client) => client.format === format);
}

/** Plays a stream to an official client. */
export function askClient(played: Played, client: OfficialClient): Promise<Verdict> {
  return play(played, async (url, onText) => {
    let text = '';
    try {
      const answer = await client.ask(url, (more) => {
        text = more;
        onText(more);
      });
      return { outcome: 'success', ...answer };
    } catch (error) {
      return { outcome: 'error', text, error: error instanceof Error ? error.constructor.name : typeof error };
    }
  });
}

/** Plays the same stream to millrace. */
export function askMillrace(played: Played, format: WireFormat): Promise<MillraceVerdict> {
  return play(played, async (url, onText): Promise<MillraceVerdict> => {
    let given = '';
    const events = fromCall(callOn(url, format)).pipe(
      tap((event) => {
        if (event.type === 'text' && event.index === 0) onText((given += event.text));
      }),
    );
    try {
      const { text, receipt } = await collect(events);
      return { outcome: receipt.outcome, text, ...warningsOf(receipt) };
    } catch (error) {
      if (!isMillraceError(error) || error.receipt === undefined) throw error;
      const { code, receipt, received } = error;
      return { outcome: receipt.outcome, text: received?.text ?? '', code, ...warningsOf(receipt) };
    }
  });
}

/** Plays a case to all who read its format. */
export async function playEnding(ending: EndingCase): Promise<Ending> {
  const clients: { client: OfficialClient; verdict: Verdict }[] = [];
  for (const client of clientsOf(ending.format)) clients.push({ client, verdict: await askClient(ending, client) });
  return { ending, clients, millrace: await askMillrace(ending, ending.format) };
}

function warningsOf({ warnings }: Receipt): Pick<MillraceVerdict, 'warnings'> {
  return warnings.length === 0 ? {} : { warnings: warnings.map(({ code }) => code) };
}

function callOn(url: string, format: WireFormat): Call {
  const dialect = dialects[format];
  if (dialect === undefined) throw new TypeError(`There is no dialect for ${format}`);
  return {
    provider: dialect.name,
    dialect,
    authorize: () => ({}),
    stream: () => ({
      method: 'POST',
      url: `${url}/stream`,
      body: '{}',
      accept: [format === 'ollama' ? 'application/x-ndjson' : 'text/event-stream'],
    }),
    leaving: { stop: 'unknown', disconnect: 'unknown' },
  };
}

async function play<T>(
  { pieces, end, contentType }: Played,
  ask: (url: string, onText: OnText) => Promise<T>,
): Promise<T> {
  await using server = await startServer();
  const texts = new BehaviorSubject('');
  const verdict = ask(server.url, (text) => {
    texts.next(text);
  });
  const exchange = await Promise.race([server.accept(), verdict.then(notAsked)]);
  exchange.respond({ headers: { 'content-type': contentType, connection: 'close' } });
  for (const { bytes, seen } of pieces) {
    await exchange.write(bytes);
    // A reset, or an error behind it, must not overtake what was sent before.
    if (seen !== undefined) {
      const arrived = firstValueFrom(texts.pipe(filter((text) => text === seen)));
      await Promise.race([arrived, verdict]);
    }
  }
  if (end === 'told') await exchange.end();
  else if (end === 'missing') exchange.halfClose();
  else exchange.reset();
  return await verdict;
}

/** Where a reader asks nothing there is nothing to play. */
function notAsked(verdict: unknown): never {
  throw new Error(`The reader was over before it asked: ${JSON.stringify(verdict)}`);
}
