import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';
import { collect } from '../../src/sinks/collect.js';
import { fromHTTP } from '../../src/sources/fromHTTP.js';
import { lastValueFrom } from 'rxjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HTTPError, isMillraceError } from '../../src/errors.js';
import { baseURLsAt, chunk, contentTypeOf, head, LAST_CHUNK, layoutOf, whole } from '../support/faultPlay.js';
import { type FaultServer, type Play, startFaultServer, watchClients } from '../support/faultServer.js';
import { type Variant, variants } from '../support/variants.js';

/** An advisory on another package, and the tests that keep the same fault out of this one: their files, and how their names begin. */
interface Covered {
  readonly advisory: string;
  readonly by: readonly (readonly [file: string, name: string])[];
}

const covered: readonly Covered[] = [
  {
    advisory: 'CVE-2022-1650 (eventsource): credentials follow a redirect to another origin',
    by: [
      ['sources/fromHTTP.test.ts', '%i of a GET goes on without any of the caller’s headers'],
      ['security/credentials.test.ts', 'stay behind when the caller reads server-sent events, its event id with them'],
    ],
  },
  {
    advisory: 'GHSA-q768-x9m6-m9qp, GHSA-wqq4-5wpv-mx2g, GHSA-3787-6prv-h9w3, GHSA-m4v8-wqvr-p9f7 (undici): the same',
    by: [['security/credentials.test.ts', 'do not come back with a redirect that leads back']],
  },
  {
    advisory: 'openai-node #2320, #2325, #2377, #2429: credentials in headers of other names follow a redirect',
    by: [['security/credentials.test.ts', 'brings no key to another origin with %i']],
  },
  {
    advisory: 'GHSA-3cvr-822r-rqcc, GHSA-f772-66g8-q5h3, GHSA-5r9g-qh6m-jxff (undici): line ends in headers and URLs',
    by: [
      ['security/credentials.test.ts', 'is no header value %j'],
      ['security/credentials.test.ts', 'is no header of the name %j'],
      ['security/credentials.test.ts', 'goes by no method %j'],
    ],
  },
  {
    advisory: 'CVE-2026-22036 (undici): content codings without an end',
    by: [['support/faultsOfAnswers.ts', 'a thousand codings, one on the other']],
  },
  {
    advisory: 'CVE-2026-1525 (undici): lengths that contradict each other in an answer',
    by: [['support/faultsOfConnections.ts', 'two lengths that contradict each other']],
  },
  {
    advisory: 'undici #5814, a2a-js #582, httpx2 #1071, fetch-event-source #88: lines and events without a bound',
    by: [
      ['support/faultsOfContent.ts', 'a line without an end'],
      ['support/faultsOfContent.ts', 'a comment without an end'],
      ['support/faultsOfContent.ts', 'an event without an end'],
      ['support/faultsOfContent.ts', 'lines of fields that nobody knows, without an end'],
    ],
  },
  {
    advisory: 'CVE-2026-33128 (h3), CVE-2026-29085 (hono), CVE-2026-44214, CVE-2026-44217: forged events in a server',
    by: [
      ['protocol/sseEncoder.test.ts', 'refuses %j where it would forge a field'],
      ['protocol/sseEncoder.test.ts', 'refuses a comment with %j'],
    ],
  },
  {
    advisory: 'the same, seen from the client: `retry` and `id` belong to the attacker',
    by: [
      ['sources/fromSSE.test.ts', 'is capped, whatever the server asks for'],
      ['sources/fromSSE.test.ts', 'is no storm after retry: 0'],
      ['sources/fromSSE.test.ts', 'that no header can hold does no harm when another one follows'],
    ],
  },
  {
    advisory: 'openai-node #2315, #2280, #2316, #2335: names and indexes on the wire that JavaScript gives a meaning',
    by: [
      ['support/faultsOfContent.ts', 'names that JavaScript gives a meaning'],
      ['providers/chatDialect.test.ts', 'survives hostile indexes and ids'],
    ],
  },
  {
    advisory: 'openai-node #2422: an end marker that is known by its beginning',
    by: [['protocol/dialect.test.ts', 'is not %j, which is malformed']],
  },
];

describe('an advisory that other tests keep', () => {
  it.each(covered)('has them: $advisory', ({ by }) => {
    for (const [file, name] of by) {
      const text = readFileSync(fileURLToPath(new URL(`../${file}`, import.meta.url)), 'utf8');
      expect(text, file).toContain(name);
    }
  });
});

let server: FaultServer;
let play: Play = () => undefined;
beforeAll(async () => {
  const unwatch = watchClients();
  server = await startFaultServer((wire) => play(wire));
  return unwatch;
});
afterAll(() => server.close());

/** The error with which a call ends. */
async function failureOf(variant: Variant): Promise<Error> {
  const end: unknown = await collect(variant.ask(baseURLsAt(server.url))).catch((error: unknown) => error);
  if (!isMillraceError(end)) throw new Error(`${variant.name}: expected an error of ours, got ${inspect(end)}`);
  return end;
}

/** Variants whose first request is that for the stream. */
const direct = variants.filter((variant) => variant.ask(baseURLsAt('http://127.0.0.1:1')).submit === undefined);

describe('openai-node #2395, #2403, #2420: what a model wrote in an error on malformed JSON', () => {
  const WORDS = 'the words of the model';

  it.each(direct)('is nowhere in the error, however it is printed: $name', async (variant) => {
    const data = `{"content":"${WORDS}`;
    const bytes = variant.framing === 'sse' ? `data: ${data}\n\n` : `${data}\n`;
    play = (wire) => wire.send(whole('200 OK', [`content-type: ${contentTypeOf(variant)}`], bytes));
    const error = await failureOf(variant);
    expect(error.name).toBe('ProtocolError');
    const cause = (error as { cause?: unknown }).cause;
    const printed = [
      error.message,
      error.stack,
      JSON.stringify(error),
      inspect(error, { depth: Infinity }),
      String(cause),
    ];
    for (const text of printed) expect(text).not.toContain('words');
  });
});

describe('openai-node #2315: what a frame names', () => {
  it.each(direct)('changes no object but its own: $name', async (variant) => {
    const frame = '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"type":"__proto__"}';
    const bytes = variant.framing === 'sse' ? `event: __proto__\nid: constructor\ndata: ${frame}\n\n` : `${frame}\n`;
    play = (wire) =>
      wire.send(
        whole(
          '200 OK',
          [`content-type: ${contentTypeOf(variant)}`],
          Buffer.concat([Buffer.from(bytes), layoutOf(variant).body]),
        ),
      );
    const { text } = await collect(variant.ask(baseURLsAt(server.url)));
    expect(text).toBe(variant.text);
    expect(Object.prototype).not.toHaveProperty('polluted');
    expect(Object.getOwnPropertyNames(Object.prototype)).not.toContain('polluted');
  });
});

describe('GHSA-9f24-jqhm-jfcw (undici): a body that nobody reads', () => {
  it.each(direct)('is cut soon where it goes on behind the end: $name', async (variant) => {
    // Comments or blank lines: nothing that says anything.
    const noise = (variant.framing === 'sse' ? ':\n\n' : '\n').repeat(5_461);
    let sent = 0;
    let isCut = false;
    const flooded = new Promise<void>((resolve) => {
      play = async (wire): Promise<void> => {
        await wire.send(head([`content-type: ${contentTypeOf(variant)}`, 'transfer-encoding: chunked']));
        await wire.send(chunk(layoutOf(variant).body));
        for (; sent < 1_048_576 && !wire.isLeft(); sent += noise.length) {
          await wire.send(chunk(noise));
          await wire.settle();
        }
        isCut = wire.isLeft();
        await wire.send(LAST_CHUNK);
        resolve();
      };
    });
    const { text } = await collect(variant.ask(baseURLsAt(server.url)));
    await flooded;
    expect(text).toBe(variant.text);
    // Gemini's streams have no end but HTTP's: they are read, not let go of.
    expect(isCut).toBe(variant.name !== 'Gemini');
    if (isCut) expect(sent).toBeLessThanOrEqual(65_536 + 2 * noise.length);
  });
});

describe('GHSA-r6ch-mqf9-qc9w (undici): patterns that take too long on the values of headers', () => {
  const LONG = 200_000;
  const filler = [' '.repeat(LONG), '\t '.repeat(LONG / 2), ';'.repeat(LONG), ','.repeat(LONG), '1'.repeat(LONG)];
  const names = ['content-type', 'content-encoding', 'retry-after', 'retry-after-ms', 'location', 'x-request-id'];

  it.each(names)('read a long %s at once', async (name) => {
    for (const run of filler) {
      play = (wire) => wire.send(head([`${name}: a${run}a`, 'content-length: 0'], '503 Status'));
      const asked = lastValueFrom(fromHTTP(server.url, { maxHeaderBytes: 4 * LONG }));
      await expect(asked).rejects.toBeInstanceOf(HTTPError);
    }
  });
});
