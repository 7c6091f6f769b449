import { gzipSync } from 'node:zlib';
import { VirtualTimeScheduler } from 'rxjs';
import { Agent } from 'undici';
import { errorReply } from '../../src/testing/provider/errorBodies.js';
import type { Surface } from '../../src/testing/providerName.js';
import { selfSigned } from './faultCertificate.js';
import {
  type Case,
  chunk,
  contentTypeOf,
  type Expected,
  type FaultRow,
  head,
  LAST_CHUNK,
  layoutOf,
  whole,
  type World,
} from './faultPlay.js';
import type { Play, Wire } from './faultServer.js';
import { callOf } from './faultsOfConnections.js';
import type { FaultGroup } from './faultsTable.js';
import { type Variant, variants } from './variants.js';

type Made = Omit<Case, 'variant'>;

/** The same case for every variant, or for those that it makes sense for. */
function row(fault: string, toCase: (variant: Variant, world: World) => Made | undefined): FaultRow {
  return {
    fault,
    cases: (world) =>
      variants.flatMap((variant) => {
        const made = toCase(variant, world);
        return made === undefined ? [] : [{ variant, ...made }];
      }),
  };
}

function goodAnswer(variant: Variant, status = '200 OK', extra: readonly string[] = []): Uint8Array {
  return whole(status, [`content-type: ${contentTypeOf(variant)}`, ...extra], layoutOf(variant).body);
}

const complete: Expected = { end: 'complete', connection: 'kept' };

// No connection.

const noConnection = (isRetryable: boolean): Expected => ({ end: 'ERR_INTERRUPTED', of: 'connect', isRetryable });
const trusting = new Map<string, Agent>();

/** An agent that trusts one certificate; they are closed with the servers. */
function trust(ca: string): Agent {
  const agent = trusting.get(ca) ?? new Agent({ connect: { ca } });
  trusting.set(ca, agent);
  return agent;
}

/** An agent whose names are looked up by nobody. */
function nameless(code: string): Agent {
  const fail = Object.assign(new Error(`getaddrinfo ${code} api.invalid`), { code, syscall: 'getaddrinfo' });
  return (
    trusting.get(code) ??
    new Agent({
      connect: {
        lookup: (_, __, done) => {
          done(fail, '', 4);
        },
      },
    })
  );
}

export async function closeAgents(): Promise<void> {
  for (const agent of trusting.values()) await agent.destroy();
  trusting.clear();
}

/** Certificates of the servers that speak TLS. */
export const certificates = {
  good: selfSigned('localhost'),
  expired: selfSigned('localhost', new Date(Date.UTC(2001, 0))),
  other: selfSigned('elsewhere.example'),
} as const;

const connecting: readonly FaultRow[] = [
  row('connection refused', (_, { refused }) => ({ url: refused, expected: noConnection(true) })),
  row('the name is unknown (ENOTFOUND)', () => ({
    url: 'https://api.invalid',
    options: { dispatcher: nameless('ENOTFOUND') },
    expected: noConnection(true),
  })),
  row('the name server does not answer (EAI_AGAIN)', () => ({
    url: 'https://api.invalid',
    options: { dispatcher: nameless('EAI_AGAIN') },
    expected: noConnection(true),
  })),
  {
    fault: 'a name that cannot exist, asked for in earnest',
    cases: () =>
      variants.slice(-1).map((variant) => ({ variant, url: 'https://api.invalid', expected: noConnection(true) })),
  },
  row('TLS: a certificate that nobody has signed', (_, { secure }) => ({
    url: secure.good.url,
    expected: noConnection(false),
  })),
  row('TLS: a certificate that has expired', (_, { secure }) => ({
    url: secure.expired.url,
    options: { dispatcher: trust(certificates.expired.cert) },
    expected: noConnection(false),
  })),
  row('TLS: a certificate for another host', (_, { secure }) => ({
    url: secure.other.url,
    options: { dispatcher: trust(certificates.other.cert) },
    expected: noConnection(false),
  })),
  row('TLS: a port that speaks plain HTTP', (_, { server }) => ({
    url: server.url.replace('http:', 'https:'),
    expected: noConnection(false),
  })),
  row('TLS: a handshake that is never answered, with `connectTimeoutMs`', (_, { mute }) => ({
    url: mute.replace('http:', 'https:'),
    options: { connectTimeoutMs: 50 },
    expected: noConnection(true),
  })),
  row('TLS works', (variant, { secure }) => ({
    url: secure.good.url,
    options: { dispatcher: trust(certificates.good.cert) },
    play: (wire) => wire.send(goodAnswer(variant)),
    expected: { end: 'complete' },
  })),
];

// Statuses below 300.

const cutBody: Expected = { end: 'ERR_INTERRUPTED', of: 'body', isRetryable: true, connection: 'kept' };

const informational: readonly FaultRow[] = [
  ...[
    ['103 with headers', ['103 Early Hints']],
    ['50 of 102', Array.from({ length: 50 }, () => '102 Processing')],
  ].map(([name, statuses]) =>
    row(`${String(name)}, then the answer`, (variant) => ({
      play: async (wire) => {
        for (const status of statuses as readonly string[]) {
          await wire.send(
            head(status.startsWith('103') ? ['link: </a>; rel=preload', 'content-length: 7'] : [], status),
          );
        }
        await wire.send(goodAnswer(variant));
      },
      expected: complete,
    })),
  ),
  // undici takes it for an answer to `expect: 100-continue`, which nobody sent.
  row('100, which nobody has asked for', (variant) => ({
    play: async (wire) => {
      await wire.send(head([], '100 Continue'));
      await wire.send(goodAnswer(variant));
    },
    expected: { end: 'ERR_PROTOCOL', isRetryable: false, connection: 'closed' },
  })),
  row('101, which nobody has asked for', () => ({
    play: (wire) => wire.send(head(['connection: upgrade', 'upgrade: websocket'], '101 Switching Protocols')),
    expected: { end: 'ERR_PROTOCOL', isRetryable: false, connection: 'closed' },
  })),
  row('102, then silence, with `headersTimeoutMs`', () => ({
    options: { headersTimeoutMs: 50 },
    play: (wire) => wire.send(head([], '102 Processing')),
    expected: { end: 'ERR_STREAM_TIMEOUT', of: 'headers', isRetryable: true, connection: 'closed' },
  })),
  row('200 without any body', (variant) => ({
    play: (wire) => wire.send(whole('200 OK', [`content-type: ${contentTypeOf(variant)}`], '')),
    expected: cutBody,
  })),
  row('204', () => ({ play: (wire) => wire.send(head([], '204 No Content')), expected: cutBody })),
  row('204 with the answer behind it', (variant) => ({
    play: (wire) => wire.send(Buffer.concat([Buffer.from(head([], '204 No Content')), layoutOf(variant).body])),
    expected: { ...cutBody, connection: 'closed' },
  })),
  row('205', () => ({
    play: (wire) => wire.send(head(['content-length: 0'], '205 Reset Content')),
    expected: cutBody,
  })),
  row('206 with the whole answer', (variant) => ({
    play: (wire) => wire.send(goodAnswer(variant, '206 Partial Content')),
    expected: complete,
  })),
];

// Redirects.

const WHERE = '/redirected';

/** Answers the first request with a redirect, and what comes by it with the answer, unless a key or a body came along. */
function redirect(status: number, to: (wire: Wire) => string | undefined, variant: Variant, isOther = false): Play {
  return async (wire) => {
    const { headers, target, bodyBytes } = wire.request;
    if (target.pathname.startsWith(WHERE)) {
      const leaked = ['authorization', 'x-api-key', 'x-goog-api-key', 'x-fault'].some((name) => name in headers);
      const answer = isOther && (leaked || bodyBytes > 0) ? whole('500 Leaked', [], '') : goodAnswer(variant);
      await wire.send(answer);
      return;
    }
    const location = to(wire);
    const lines = location === undefined ? [] : [`location: ${location}`];
    await wire.send(head([...lines, 'content-length: 0'], `${String(status)} Redirect`));
  };
}

function here(wire: Wire): string {
  return `${WHERE}?fault=${String(wire.request.headers['x-fault'])}`;
}

function methodOf(variant: Variant): string {
  return callOf(variant).stream('a1').method;
}

const refused = (status: number): Expected => ({ end: 'ERR_HTTP', of: status, isRetryable: false });

const REDIRECTS = [301, 302, 303, 307, 308] as const;

const redirects: readonly FaultRow[] = [
  ...[300, 304, 305, 399].map((status) =>
    row(`${String(status)}, which is no redirect to follow`, (variant) => ({
      play: redirect(status, here, variant),
      expected: refused(status),
    })),
  ),
  ...REDIRECTS.flatMap((status) => [
    row(`${String(status)} without Location`, (variant) => ({
      play: redirect(status, () => undefined, variant),
      expected: refused(status),
    })),
    row(`${String(status)} to the same origin`, (variant) => ({
      play: redirect(status, here, variant),
      expected: methodOf(variant) === 'POST' && status <= 302 ? refused(status) : complete,
    })),
    row(`${String(status)} to another port`, (variant, { other }) => ({
      play: redirect(status, (wire) => `${other.url}${here(wire)}`, variant, true),
      expected: methodOf(variant) === 'POST' && status !== 303 ? refused(status) : complete,
    })),
  ]),
  ...([303, 307] as const).map((status) =>
    row(`${String(status)} for ever`, (variant) => ({
      play: (wire) => {
        const fault = wire.request.headers['x-fault'] ?? wire.request.target.searchParams.get('fault');
        return wire.send(
          head([`location: /round?fault=${String(fault)}`, 'content-length: 0'], `${String(status)} Redirect`),
        );
      },
      expected: { end: 'ERR_LIMIT', of: 'maxRedirects', isRetryable: false },
      variant,
    })),
  ),
  row('303 from https: to http:', (variant, { secure, server }) => ({
    url: secure.good.url,
    options: { dispatcher: trust(certificates.good.cert) },
    play: redirect(303, (wire) => `${server.url}${here(wire)}`, variant, true),
    expected: { end: 'complete' },
  })),
  row('307 from https: to http:', (variant, { secure, server }) => ({
    url: secure.good.url,
    options: { dispatcher: trust(certificates.good.cert) },
    play: redirect(307, (wire) => `${server.url}${here(wire)}`, variant, true),
    expected: methodOf(variant) === 'POST' ? refused(307) : { end: 'complete' },
  })),
  ...['file:///etc/passwd', 'data:text/event-stream,hello', 'javascript:0', 'http://['].map((location) =>
    row(`307 to \`${location}\``, (variant) => ({
      play: redirect(307, () => location, variant),
      expected: refused(307),
    })),
  ),
  row("307, with `redirect: 'error'`", (variant) => ({
    options: { redirect: 'error' },
    play: redirect(307, here, variant),
    expected: refused(307),
  })),
];

// Statuses from 400.

const SURFACES: readonly (readonly [string, Surface])[] = [
  ['Infernet jobs', 'infernetJobs'],
  ['Infernet native', 'infernetNative'],
  ['Infernet chat', 'infernetShim'],
  ['Infron', 'infron'],
  ['inference.sh', 'inferencesh'],
  ['Gateway', 'gateway'],
  ['PolarGrid', 'polargrid'],
  ['OpenAI', 'openai'],
  ['Anthropic', 'anthropic'],
  ['Gemini', 'gemini'],
  ['Ollama', 'ollama'],
];

const WORDS = 'The mill is full';
const PAGE = '<!doctype html><title>Bad gateway</title><p>nginx</p>';

function errorBody(variant: Variant, status: number): { readonly type: string; readonly body: string } {
  const surface = SURFACES.find(([name]) => variant.name.startsWith(name))?.[1] ?? 'openai';
  const { headers, body } = errorReply(surface, status, { message: WORDS });
  return { type: `content-type: ${String(headers['content-type'])}`, body: JSON.stringify(body) };
}

const AGAIN: ReadonlySet<number> = new Set([408, 409, 425, 429, 500, 502, 503, 504, 529]);
const STATUSES = [
  400, 401, 402, 403, 404, 405, 408, 409, 410, 413, 422, 425, 429, 499, 500, 501, 502, 503, 504, 529, 599,
];

const failed = (status: number, more: Partial<Expected> = {}): Expected => ({
  end: 'ERR_HTTP',
  of: status,
  isRetryable: AGAIN.has(status),
  connection: 'kept',
  ...more,
});

const statuses: readonly FaultRow[] = STATUSES.flatMap((status) => {
  const line = `${String(status)} Status`;
  return [
    row(`${String(status)}, the provider's own words`, (variant) => {
      const { type, body } = errorBody(variant, status);
      return {
        play: (wire) => wire.send(whole(line, [type], body)),
        expected: failed(status, { says: [WORDS], has: { body: JSON.parse(body) as unknown } }),
      };
    }),
    row(`${String(status)} without a body`, () => ({
      play: (wire) => wire.send(head(['content-length: 0'], line)),
      expected: failed(status, { has: { body: undefined } }),
    })),
    row(`${String(status)} with a page`, () => ({
      play: (wire) => wire.send(whole(line, ['content-type: text/html'], PAGE)),
      expected: failed(status, { has: { body: PAGE, providerMessage: undefined } }),
    })),
  ];
});

const errorBodies: readonly FaultRow[] = [
  ...(['reset', 'fin'] as const).map((kind) =>
    row(`503 whose body is cut by a ${kind === 'fin' ? 'FIN' : 'reset'}`, (variant) => {
      const { type, body } = errorBody(variant, 503);
      return {
        play: async (wire) => {
          await wire.send(head([type, `content-length: ${String(body.length + 5)}`], '503 Status'));
          await wire.send(body);
          await wire.settle();
          wire[kind]();
        },
        expected: failed(503, { connection: 'closed', says: [WORDS] }),
      };
    }),
  ),
  row('503 whose body does not come: told after 5 s', () => {
    const scheduler = new VirtualTimeScheduler();
    return {
      scheduler,
      play: async (wire) => {
        await wire.send(head(['content-length: 50'], '503 Status'));
        await wire.settle();
        scheduler.flush();
        if (scheduler.frame !== 5_000) throw new Error(`told after ${String(scheduler.frame)} ms`);
      },
      expected: failed(503, { connection: 'closed' }),
    };
  }),
  row('503 whose body has no end: 64 KiB are read', () => ({
    play: async (wire) => {
      await wire.send(head(['transfer-encoding: chunked'], '503 Status'));
      const piece = chunk('x'.repeat(4_096));
      let isOver = false;
      void wire.closed.then(() => (isOver = true));
      while (!isOver) await wire.send(piece);
    },
    expected: failed(503, { connection: 'closed', has: { body: 'x'.repeat(65_536) } }),
  })),
  row('503 in gzip', (variant) => {
    const { type, body } = errorBody(variant, 503);
    return {
      play: (wire) => wire.send(whole('503 Status', [type, 'content-encoding: gzip'], gzipSync(body))),
      expected: failed(503, { says: [WORDS] }),
    };
  }),
  ...(['gzip', 'snappy'] as const).map((coding) =>
    row(`503 that says ${coding} and is none`, (variant) => {
      const { type, body } = errorBody(variant, 503);
      return {
        play: (wire) => wire.send(whole('503 Status', [type, `content-encoding: ${coding}`], body)),
        expected: failed(503, { connection: undefined }),
      };
    }),
  ),
  row('503 whose JSON is cut', () => ({
    play: (wire) => wire.send(whole('503 Status', ['content-type: application/json'], '{"error":{"message":"The mi')),
    expected: failed(503, { has: { body: '{"error":{"message":"The mi' } }),
  })),
];

/** Virtual time begins in 1970, and so do the dates. */
const RETRY_AFTER: readonly (readonly [string, readonly string[], number | undefined])[] = [
  ['`Retry-After: 2`', ['retry-after: 2'], 2_000],
  ['`Retry-After: 0`', ['retry-after: 0'], 0],
  ['`Retry-After` of a date', ['retry-after: Thu, 01 Jan 1970 00:01:00 GMT'], 60_000],
  ['`Retry-After` of a date that is past', ['retry-after: Wed, 31 Dec 1969 23:59:00 GMT'], 0],
  ['`Retry-After: -5`', ['retry-after: -5'], 0],
  ['`Retry-After: 1000000000000`', ['retry-after: 1000000000000'], 2_147_483_647],
  ['`Retry-After: soon`', ['retry-after: soon'], undefined],
  ['`retry-after-ms: 1500.2`', ['retry-after-ms: 1500.2'], 1_501],
  ['`retry-after-ms: 7` beside `Retry-After: 9`', ['retry-after: 9', 'retry-after-ms: 7'], 7],
  ['`retry-after-ms: 1e99`', ['retry-after-ms: 1e99'], 2_147_483_647],
];

const retryAfter: readonly FaultRow[] = RETRY_AFTER.map(([name, lines, retryAfterMs]) =>
  row(`429 with ${name}: ${retryAfterMs === undefined ? 'no delay' : `${String(retryAfterMs)} ms`}`, () => ({
    scheduler: new VirtualTimeScheduler(),
    play: (wire) => wire.send(whole('429 Status', lines, '')),
    expected: failed(429, { has: { retryAfterMs } }),
  })),
);

// 200, and no stream.

const protocol: Expected = { end: 'ERR_PROTOCOL', isRetryable: false, connection: 'kept' };
const named = (type: string, what: string, expected: Expected, body?: string): FaultRow =>
  row(what, (variant) => {
    // A dialect with two framings takes the one that the content type names, or else its own.
    if (callOf(variant).dialect.framing !== variant.framing && expected.end === 'complete') return undefined;
    return {
      play: (wire) =>
        wire.send(whole('200 OK', type === '' ? [] : [`content-type: ${type}`], body ?? layoutOf(variant).body)),
      expected,
    };
  });
/** What is long is not read to its end. */
const longProtocol: Expected = { ...protocol, connection: undefined };

const types: readonly FaultRow[] = [
  row('200 and the JSON of an error', (variant) => {
    const { body } = errorBody(variant, 500);
    return {
      play: (wire) => wire.send(whole('200 OK', ['content-type: application/json; charset=utf-8'], body)),
      // Who asks for JSON as well reads it.
      expected: callOf(variant).stream('a1').accept.includes('application/json')
        ? { ...protocol, end: 'ERR_PROVIDER' }
        : protocol,
    };
  }),
  named('text/html; charset=utf-8', '200 and a page', protocol, PAGE),
  named('', 'the answer without a content type', complete),
  named('text/plain', 'the answer as `text/plain`', complete),
  named('application/octet-stream', 'the answer as `application/octet-stream`', complete),
  row('the answer as its own type with `charset=windows-1252`', (variant) => ({
    play: (wire) =>
      wire.send(
        whole('200 OK', [`content-type: ${contentTypeOf(variant)};charset=windows-1252`], layoutOf(variant).body),
      ),
    expected: complete,
  })),
  named('text/html', 'the answer as `text/html`', longProtocol),
  row('the answer as `application/json`', (variant) => ({
    play: (wire) => wire.send(whole('200 OK', ['content-type: application/json'], layoutOf(variant).body)),
    // Who asks for JSON as well gets lines that are no document.
    expected: callOf(variant).stream('a1').accept.includes('application/json')
      ? { ...cutBody, connection: undefined }
      : longProtocol,
  })),
  named('application/problem+json', 'the answer as `application/problem+json`', longProtocol),
];

// Codings and sizes of headers.

const codings: readonly FaultRow[] = [
  row('gzip on plain text', (variant) => ({
    play: (wire) => wire.send(goodAnswer(variant, '200 OK', ['content-encoding: gzip'])),
    expected: { end: 'ERR_PROTOCOL', isRetryable: false },
  })),
  row('an unknown coding', (variant) => ({
    play: (wire) => wire.send(goodAnswer(variant, '200 OK', ['content-encoding: snappy'])),
    expected: { end: 'ERR_PROTOCOL', isRetryable: false, connection: 'closed' },
  })),
  row('a thousand codings, one on the other', (variant) => ({
    play: (wire) =>
      wire.send(
        goodAnswer(variant, '200 OK', [`content-encoding: ${Array.from({ length: 1_000 }, () => 'gzip').join(', ')}`]),
      ),
    expected: { end: 'ERR_PROTOCOL', isRetryable: false, connection: 'closed' },
  })),
  row('a bomb: 12 MiB of white space in 12 KiB of gzip', (variant) => ({
    play: (wire) =>
      wire.send(whole('200 OK', [`content-type: ${contentTypeOf(variant)}`, 'content-encoding: gzip'], BOMB())),
    expected: { end: 'ERR_LIMIT', of: 'maxDecompressionRatio', isRetryable: false },
  })),
  row('headers of 20 KB', (variant) => ({
    play: (wire) => wire.send(goodAnswer(variant, '200 OK', [`x-large: ${'x'.repeat(20_000)}`])),
    expected: { end: 'ERR_LIMIT', of: 'maxHeaderBytes', isRetryable: false, connection: 'closed' },
  })),
  row('headers without an end', () => ({
    play: async (wire) => {
      await wire.send('HTTP/1.1 200 OK\r\n');
      let isOver = false;
      void wire.closed.then(() => (isOver = true));
      for (let i = 0; !isOver; i += 1) await wire.send(`x-${String(i)}: ${'x'.repeat(1_000)}\r\n`);
    },
    expected: { end: 'ERR_LIMIT', of: 'maxHeaderBytes', isRetryable: false, connection: 'closed' },
  })),
  row('a NUL in a header', (variant) => ({
    play: (wire) => wire.send(goodAnswer(variant, '200 OK', ['x-nul: a\0b'])),
    expected: { end: 'ERR_PROTOCOL', isRetryable: false, connection: 'closed' },
  })),
  row('a trailer behind the last chunk', (variant) => ({
    play: async (wire) => {
      await wire.send(
        head([`content-type: ${contentTypeOf(variant)}`, 'transfer-encoding: chunked', 'trailer: x-sum']),
      );
      await wire.send(chunk(layoutOf(variant).body));
      await wire.send(LAST_CHUNK.replace('\r\n\r\n', '\r\nx-sum: 1\r\n\r\n'));
    },
    expected: complete,
  })),
];

let bomb: Uint8Array | undefined;
const BOMB = (): Uint8Array => (bomb ??= gzipSync(Buffer.alloc(12 * 1024 * 1024, ' ')));

// The request that creates the work.

function created(fault: string, play: Play, expected: Expected): FaultRow {
  return row(fault, (variant) => (callOf(variant).submit === undefined ? undefined : { submit: play, expected }));
}
const json =
  (body: string) =>
  (wire: Wire): Promise<void> =>
    wire.send(whole('200 OK', ['content-type: application/json'], body));

const creating: readonly FaultRow[] = [
  created(
    'reset before its headers',
    async (wire) => {
      await wire.settle();
      wire.reset();
    },
    { end: 'ERR_INTERRUPTED', of: 'headers', isRetryable: true, connection: 'closed' },
  ),
  created(
    'cut inside its JSON by a FIN',
    async (wire) => {
      await wire.send(head(['content-type: application/json', 'content-length: 99']));
      await wire.send('{"id":"a1",');
      await wire.settle();
      wire.fin();
    },
    { end: 'ERR_INTERRUPTED', of: 'body', isRetryable: true, connection: 'closed' },
  ),
  created('JSON that is cut, whole for HTTP', json('{"id":"a1",'), protocol),
  created('no body', json(''), protocol),
  created('204', (wire) => wire.send(head([], '204 No Content')), protocol),
  created('a page', (wire) => wire.send(whole('200 OK', ['content-type: text/html'], PAGE)), protocol),
  created('JSON without an id', json('{}'), protocol),
  created('JSON of another kind', json('[1]'), protocol),
  created(
    'an id of another kind',
    json('{"id":{},"jobId":[],"streamUrl":7,"assistant_message":{"chat_id":0}}'),
    protocol,
  ),
  ...[401, 404, 429, 500, 503].map((status) =>
    created(
      `status ${String(status)}`,
      (wire) => wire.send(whole(`${String(status)} Status`, ['content-type: application/json'], '{"error":"no"}')),
      failed(status),
    ),
  ),
];

/** Faults of whole answers: each has one place only. */
export const faultsOfAnswers: readonly FaultGroup[] = [
  { title: 'No connection', rows: connecting },
  { title: 'Statuses below 300', rows: informational },
  { title: 'Redirects', rows: redirects },
  { title: 'Statuses from 400', rows: statuses },
  { title: 'What comes with a status from 400', rows: [...errorBodies, ...retryAfter] },
  { title: 'Content types', rows: types },
  { title: 'Codings and headers', rows: codings },
  { title: 'The request that creates the work', rows: creating },
];
