import { once } from 'node:events';
import { lookup } from 'node:dns/promises';
import { connect, isIP } from 'node:net';
import { performance } from 'node:perf_hooks';
import { connect as connectTLS, type TLSSocket } from 'node:tls';
import { type Dispatcher, request } from 'undici';
import { redactURL } from '../../internal/redactURL.js';
import { type Check, inMs } from './check.js';

/** How a host is asked. */
export interface HostProbe {
  readonly url: URL;
  readonly proxy: URL | undefined;
  readonly dispatcher: Dispatcher;
  /** For each step. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** Whether a host can be reached: its name, its port, its certificate, and what it answers to a request without a key. */
export async function hostChecks(of: string, probe: HostProbe): Promise<readonly Check[]> {
  const { url, proxy } = probe;
  const steps =
    proxy === undefined
      ? [dnsStep(url), tcpStep(url), ...(url.protocol === 'https:' ? [tlsStep(url)] : []), httpStep(url)]
      : [tcpStep(proxy, 'proxy port'), httpStep(url)];
  const checks: Check[] = [];
  for (const { name, run, advice } of steps) {
    const at = performance.now();
    try {
      const {
        says,
        ms = performance.now() - at,
        ...found
      } = await run(probe, AbortSignal.any([probe.signal, AbortSignal.timeout(probe.timeoutMs)]));
      checks.push({
        of,
        name,
        verdict: 'ok',
        says: `${says} in ${inMs(ms)}`,
        ...found,
        facts: { ms: Math.round(ms), ...found.facts },
      });
    } catch (error) {
      if (probe.signal.aborted) throw error;
      const code = codeOf(error);
      checks.push({
        of,
        name,
        verdict: 'broken',
        says: failure(code, probe),
        advice: advice(code),
        facts: { code },
      });
      return checks; // the steps behind it cannot go better
    }
  }
  return checks;
}

interface Step {
  readonly name: string;
  readonly run: (
    probe: HostProbe,
    signal: AbortSignal,
  ) => Promise<Pick<Check, 'says' | 'facts'> & Partial<Pick<Check, 'verdict' | 'advice'>> & { readonly ms?: number }>;
  readonly advice: (code: string) => string;
}

function dnsStep({ hostname }: URL): Step {
  const host = bare(hostname);
  return {
    name: 'name',
    run: async (_, signal) => {
      if (isIP(host) !== 0) return { says: `${host} is an address`, facts: { address: host }, ms: 0 };
      const found = await orAborted(lookup(host, { all: true }), signal);
      const [{ address } = { address: '?' }] = found;
      const more = found.length > 1 ? ` and ${String(found.length - 1)} more` : '';
      return { says: `${host} is ${address}${more}`, facts: { address, addresses: found.length } };
    },
    advice: () => `Is the name right, and is there a network? Behind a company proxy HTTPS_PROXY must be set`,
  };
}

function tcpStep(url: URL, name = 'port'): Step {
  const port = portOf(url);
  return {
    name,
    run: async (_, signal) => {
      const socket = connect({ host: bare(url.hostname), port });
      try {
        await once(socket, 'connect', { signal });
      } finally {
        socket.destroy();
      }
      return { says: `${url.hostname}:${String(port)} accepts a connection`, facts: { port } };
    },
    advice: (code) =>
      code === 'ECONNREFUSED'
        ? 'Nothing listens there: is the server started, is the port right?'
        : 'A firewall, or a proxy that must be used: see HTTPS_PROXY',
  };
}

/** A certificate that ends sooner than that is told. */
const SOON_DAYS = 14;

function tlsStep(url: URL): Step {
  return {
    name: 'TLS',
    run: async (_, signal) => {
      const host = bare(url.hostname);
      const socket: TLSSocket = connectTLS({
        host,
        port: portOf(url),
        ...(isIP(host) === 0 && { servername: host }),
        ALPNProtocols: ['h2', 'http/1.1'],
      });
      try {
        await once(socket, 'secureConnect', { signal });
        const protocol = socket.getProtocol() ?? '?';
        const offered = socket.alpnProtocol === 'h2' ? 'HTTP/2' : 'HTTP/1.1';
        const days = Math.floor((Date.parse(socket.getPeerCertificate().valid_to) - Date.now()) / 86_400_000);
        return {
          says: `${protocol}, ${offered} offered, the certificate is good for ${String(days)} days,`,
          facts: { protocol, offered, certificateDays: days },
          ...(days < SOON_DAYS && { verdict: 'warning' as const, advice: 'The certificate ends soon' }),
        };
      } finally {
        socket.destroy();
      }
    },
    advice: (code) =>
      /CERT|VERIFY|SELF_SIGNED|ISSUER/.test(code)
        ? 'The certificate is not trusted: a company proxy that looks into TLS needs its own authority in NODE_EXTRA_CA_CERTS'
        : 'Does the port speak TLS? http:// where there is none',
  };
}

function httpStep(url: URL): Step {
  return {
    name: 'request',
    run: async ({ dispatcher, timeoutMs }, signal) => {
      const { statusCode, headers, body } = await request(url, {
        dispatcher,
        signal,
        headers: { accept: 'application/json' },
        headersTimeout: timeoutMs,
      });
      // What it says is nobody's business here.
      void body.dump().catch(() => undefined);
      const facts = { status: statusCode, server: headerOf(headers, 'server'), via: headerOf(headers, 'via') };
      const between = facts.via === undefined ? '' : `, via ${facts.via}`;
      const says = `GET ${redactURL(url)} without a key answers ${String(statusCode)}${between}`;
      if (statusCode === 407) throw Object.assign(new Error('proxy'), { code: 'HTTP 407' });
      if (statusCode >= 500) {
        return {
          says,
          facts,
          verdict: 'warning',
          advice: 'The server, or a proxy before it, has trouble: see its status page',
        };
      }
      // As most APIs do, and as a wrong path does.
      if (statusCode === 404) return { says: `${says}; --stream tells whether the path is right`, facts };
      return { says, facts };
    },
    advice: (code) =>
      code === 'HTTP 407'
        ? 'The proxy wants credentials: http://USER:PASSWORD@HOST:PORT in HTTPS_PROXY'
        : 'The port is open and no HTTP answer comes: is there a proxy or a firewall between?',
  };
}

function headerOf(headers: Readonly<Record<string, string | string[] | undefined>>, name: string): string | undefined {
  const value = headers[name];
  return (Array.isArray(value) ? value.join(', ') : value)?.slice(0, 200);
}

function failure(code: string, { url, timeoutMs }: HostProbe): string {
  switch (code) {
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `the name ${url.hostname} is not known here (${code})`;
    case 'ECONNREFUSED':
      return `${url.host} refuses the connection`;
    case 'timeout':
      return `no answer within ${inMs(timeoutMs)}`;
    case 'HTTP 407':
      return 'the proxy refuses: HTTP 407';
    default:
      return `it fails with ${code}`;
  }
}

/** The code of an error: messages may hold more than is good. */
function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  const { cause } = error;
  if (error.name === 'TimeoutError' || (cause instanceof Error && cause.name === 'TimeoutError')) return 'timeout';
  const inner: unknown = error instanceof AggregateError ? error.errors[0] : error;
  if (inner instanceof Error && 'code' in inner) {
    if (inner.code === 'UND_ERR_HEADERS_TIMEOUT' || inner.code === 'UND_ERR_CONNECT_TIMEOUT') return 'timeout';
    // undici tells that a proxy has refused by a sentence.
    const status = /Proxy response \((\d{3})\)/.exec(inner.message)?.[1];
    return status === undefined ? String(inner.code) : `HTTP ${status}`;
  }
  return error.name;
}

/** A lookup cannot be aborted: it is left alone. */
async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  return Promise.race([
    work,
    once(signal, 'abort').then((): never => {
      throw signal.reason;
    }),
  ]);
}

function portOf({ port, protocol }: URL): number {
  return port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port);
}

function bare(hostname: string): string {
  return hostname.replace(/^\[|\]$/g, '');
}
