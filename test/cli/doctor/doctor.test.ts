import { writeFile } from 'node:fs/promises';
import { createServer, request as ask, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTLSServer } from 'node:https';
import { type AddressInfo, connect, createServer as createTCPServer } from 'node:net';
import { join } from 'node:path';
import { createGzip } from 'node:zlib';
import { describe, expect, it, onTestFinished } from 'vitest';
import { certificates } from '../../support/faultsOfAnswers.js';
import { cli, type CLISettings, providers, temporaryFolder } from '../harness.js';
import type { Check } from '../../../src/cli/doctor/check.js';

const KEY = 'k-4711-secret';
const env = { POLARGRID_API_KEY: KEY };

async function doctor(args: readonly string[], settings: CLISettings = { env }) {
  const { stdout, stderr, exitCode } = cli(['doctor', ...args], settings);
  return { code: await exitCode, stdout: stdout.text, stderr: stderr.text };
}

async function checksOf(args: readonly string[], settings: CLISettings = { env }) {
  const { code, stdout, stderr } = await doctor([...args, '--json'], settings);
  expect(stderr).toBe('');
  expect(stdout).not.toContain('4711');
  const { isWell, checks } = JSON.parse(stdout) as { readonly isWell: boolean; readonly checks: readonly Check[] };
  expect(code).toBe(isWell ? 0 : 1);
  return { code, checks, named: (name: string) => checks.filter((check) => check.name === name) };
}

/** A server of its own on a free port; resolves with its origin. */
async function listen(server: Pick<Server, 'listen' | 'close' | 'address' | 'once'>): Promise<string> {
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  onTestFinished(() => {
    server.close();
  });
  return `127.0.0.1:${String((server.address() as AddressInfo).port)}`;
}

/** A proxy before a server, which does with an answer what `pass` does. */
async function proxyBefore(target: string, pass: (from: IncomingMessage, to: ServerResponse) => void): Promise<string> {
  const server = createServer((incoming, outgoing) => {
    const { pathname } = new URL(incoming.url ?? '/', 'http://x');
    const { host: _host, connection: _connection, ...headers } = incoming.headers;
    const onward = ask(target + pathname, { method: incoming.method ?? 'GET', headers }, (answer) => {
      pass(answer, outgoing);
    });
    onward.on('error', () => outgoing.destroy());
    incoming.pipe(onward);
  });
  return `http://${await listen(server)}`;
}

/** As nginx with proxy_buffering on: all of it, then at once. */
function collect(from: IncomingMessage, to: ServerResponse): void {
  const chunks: Buffer[] = [];
  from.on('data', (chunk: Buffer) => chunks.push(chunk));
  from.on('end', () => {
    to.writeHead(from.statusCode ?? 500, { 'content-type': from.headers['content-type'], via: '1.1 collector' });
    to.end(Buffer.concat(chunks));
  });
}

function passOn(from: IncomingMessage, to: ServerResponse): void {
  to.writeHead(from.statusCode ?? 500, { 'content-type': from.headers['content-type'], via: '1.1 passer' });
  from.pipe(to);
}

/** An answer that takes some hundreds of milliseconds. */
async function pacedProviders() {
  const server = await providers({ pace: { perFrameMs: 12 } });
  server.next({ pieces: Array.from({ length: 30 }, (_, index) => `word ${String(index)} `) });
  return server;
}
const STREAM = ['polargrid', '--stream', '-m', 'm', '--base-url'];

describe('millrace doctor: this machine', () => {
  it('looks at Node, the packages beneath and the proxies, and asks nobody', async () => {
    const { code, checks } = await checksOf([], { env: {} });
    expect(code).toBe(0);
    expect(checks.map(({ name, verdict }) => [name, verdict])).toEqual([
      ['Node', 'ok'],
      ['rxjs', 'ok'],
      ['undici', 'ok'],
      ['proxy', 'ok'],
      ['key', 'warning'],
    ]);
    expect(checks[1]?.says).toMatch(/^7\.\d+\.\d+$/);
    expect(checks[2]?.says).toMatch(/^\d+\.\d+\.\d+$/);
  });

  it('prints a mark, what it found and what to do', async () => {
    const { code, stdout } = await doctor(['polargrid', '--base-url', 'http://127.0.0.1:9'], { env: {} });
    expect(code).toBe(1);
    expect(stdout).toMatch(/^this machine\n {2}✓ Node +\d+\.\d+\.\d+; millrace .* or later\n/);
    expect(stdout).toMatch(/\n\npolargrid\n {2}✗ key {7}POLARGRID_API_KEY is not set\n {14}→ Set POLARGRID_API_KEY/);
    expect(stdout).toMatch(/something is broken\.\n$/);
  });

  it('fails for a proxy that is none', async () => {
    const { code, named } = await checksOf([], { env: { HTTPS_PROXY: 'me:k-4711@proxy' } });
    expect(code).toBe(1);
    expect(named('proxy')).toMatchObject([{ verdict: 'broken' }]);
  });
});

describe('millrace doctor: a provider', () => {
  it('finds all well where it is, and sends neither key nor question', async () => {
    const server = await providers();
    const { code, checks, named } = await checksOf(['polargrid', '--base-url', server.baseURLs.polargrid]);
    expect(code).toBe(0);
    expect(checks.slice(4).map(({ of, name, verdict }) => [of, name, verdict])).toEqual(
      ['key', 'place', 'name', 'port', 'request'].map((name) => ['polargrid', name, 'ok']),
    );
    expect(named('key')[0]?.says).toBe('POLARGRID_API_KEY is set');
    expect(named('request')[0]?.facts).toMatchObject({ status: expect.any(Number) });
    expect(server.requests).toHaveLength(1);
    expect(server.requests[0]?.method).toBe('GET');
    expect(server.requests[0]?.headers.authorization).toBeUndefined();
  });

  it.each([
    [{}, 'broken', /^POLARGRID_API_KEY is not set$/],
    [{ POLARGRID_API_KEY: '' }, 'broken', /^POLARGRID_API_KEY is not set$/],
    [{ POLARGRID_API_KEY: ` ${KEY}\n` }, 'warning', /holds more than a key/],
    [{ POLARGRID_API_KEY: `Bearer ${KEY}` }, 'warning', /holds more than a key/],
    [{ POLARGRID_API_KEY: `"${KEY}"` }, 'warning', /holds more than a key/],
  ])('looks at its key (%#)', async (variables, verdict, says) => {
    const server = await providers();
    const { named } = await checksOf(['polargrid', '--base-url', server.baseURLs.polargrid], { env: variables });
    expect(named('key')).toMatchObject([{ verdict, says: expect.stringMatching(says) }]);
  });

  it('shows no key that was given as the name of a variable', async () => {
    const { stdout } = await doctor(['polargrid', '--base-url', 'http://127.0.0.1:9', '--key-env', 'k_4711_secret']);
    expect(stdout).not.toContain('4711');
    expect(stdout).toContain('the variable that is named for it is not set');
  });

  it('asks for no key where none is needed', async () => {
    const server = await providers();
    const { named } = await checksOf(['vllm', '--base-url', server.baseURLs.openai], { env: {} });
    expect(named('key')).toMatchObject([{ verdict: 'ok', says: 'VLLM_API_KEY is not set, and need not be' }]);
  });

  it('says that nothing listens, and stops there', async () => {
    const server = await providers();
    await server.close();
    const { code, checks } = await checksOf(['polargrid', '--base-url', server.baseURLs.polargrid]);
    expect(code).toBe(1);
    expect(checks.at(-1)).toMatchObject({ name: 'port', verdict: 'broken', facts: { code: 'ECONNREFUSED' } });
    expect(checks.at(-1)?.advice).toContain('Nothing listens there');
  });

  it('says that no answer comes', async () => {
    const mute = createTCPServer(() => undefined);
    const host = await listen(mute as never);
    const { checks } = await checksOf(['polargrid', '--base-url', `http://${host}`, '--timeout', '50ms']);
    expect(checks.at(-1)).toMatchObject({ name: 'request', verdict: 'broken', says: 'no answer within 50 ms' });
  });

  it('says that a certificate is not trusted', async () => {
    const server = createTLSServer(certificates.other, (_, response) => response.end());
    const host = await listen(server);
    const { code, checks } = await checksOf(['polargrid', '--base-url', `https://${host}`]);
    expect(code).toBe(1);
    expect(checks.at(-1)).toMatchObject({ name: 'TLS', verdict: 'broken' });
    expect(checks.at(-1)?.advice).toContain('NODE_EXTRA_CA_CERTS');
  });

  it('warns of a server that has trouble', async () => {
    const host = await listen(createServer((_, response) => response.writeHead(503, { via: '1.1 edge' }).end()));
    const { code, checks } = await checksOf(['polargrid', '--base-url', `http://${host}`]);
    expect(code).toBe(0);
    expect(checks.at(-1)).toMatchObject({
      name: 'request',
      verdict: 'warning',
      facts: { status: 503, via: '1.1 edge' },
    });
  });

  it('goes through the proxy of the environment, and hides its credentials', async () => {
    const server = await providers();
    const tunnels: string[] = [];
    const proxy = createServer().on('connect', (request: IncomingMessage, socket, head: Buffer) => {
      tunnels.push(request.headers['proxy-authorization'] ?? 'none');
      const onward = connect(server.port, '127.0.0.1', () => {
        socket.write('HTTP/1.1 200 OK\r\n\r\n');
        onward.write(head);
        onward.pipe(socket).pipe(onward);
      });
      socket.on('error', () => onward.destroy());
      onward.on('error', () => socket.destroy());
    });
    const host = await listen(proxy);
    const args = ['polargrid', '--base-url', 'http://api.polargrid.example/polargrid/v1'];
    const { code, checks } = await checksOf(args, { env: { ...env, HTTP_PROXY: `http://me:4711@${host}` } });
    expect(code).toBe(0);
    expect(checks.slice(-2).map(({ name, verdict }) => [name, verdict])).toEqual([
      ['proxy port', 'ok'],
      ['request', 'ok'],
    ]);
    expect(tunnels).toEqual([`Basic ${Buffer.from('me:4711').toString('base64')}`]);
  });

  it('looks at everybody with a key, and at those of the config file', async () => {
    const server = await providers();
    const file = join(await temporaryFolder(), 'c.yaml');
    const { baseURLs: urls } = server;
    await writeFile(
      file,
      `providers:\n  mine: { use: vllm, baseUrl: "${urls.openai}" }\n  polargrid: { baseUrl: "${urls.polargrid}" }\n`,
    );
    const { code, checks } = await checksOf(['--config', file]);
    expect(code).toBe(0);
    expect([...new Set(checks.map(({ of }) => of))]).toEqual(['this machine', 'mine', 'polargrid', 'the others']);
    expect(checks.at(-1)?.says).not.toMatch(/polargrid/);
  });
});

describe('millrace doctor --stream', () => {
  it('finds an answer that comes as it is made', async () => {
    const server = await pacedProviders();
    const { code, named } = await checksOf([...STREAM, server.baseURLs.polargrid]);
    expect(named('answer')).toMatchObject([{ verdict: 'ok' }]);
    const [stream] = named('stream');
    expect(stream).toMatchObject({ verdict: 'ok', says: expect.stringMatching(/^nothing collects it: /) });
    expect(stream?.facts?.['gaps']).toBe(Number(stream?.facts?.['chunks']) - 1);
    expect(code).toBe(0);
    expect(server.requests.at(-1)?.headers.authorization).toBe(`Bearer ${KEY}`);
  });

  it('finds a proxy that collects, and says what to do', async () => {
    const server = await pacedProviders();
    const proxy = await proxyBefore(server.url, collect);
    const { code, named } = await checksOf([...STREAM, server.baseURLs.polargrid.replace(server.url, proxy)]);
    expect(code).toBe(1);
    expect(named('answer')).toMatchObject([{ verdict: 'ok' }]);
    expect(named('stream')).toMatchObject([
      { verdict: 'broken', says: expect.stringMatching(/^buffered, all came in one burst/) },
    ]);
    expect(named('stream')[0]?.advice).toContain('proxy_buffering off');
    expect(named('headers')[0]?.says).toContain('via: 1.1 collector');
  });

  it('finds nothing wrong with a proxy that passes on', async () => {
    const server = await pacedProviders();
    const proxy = await proxyBefore(server.url, passOn);
    const { code, named } = await checksOf([...STREAM, server.baseURLs.polargrid.replace(server.url, proxy)]);
    expect(code).toBe(0);
    expect(named('stream')).toMatchObject([{ verdict: 'ok' }]);
  });

  it('finds compression that collects', async () => {
    const server = await pacedProviders();
    const proxy = await proxyBefore(server.url, (from, to) => {
      to.writeHead(200, { 'content-type': from.headers['content-type'], 'content-encoding': 'gzip' });
      from.pipe(createGzip()).pipe(to);
    });
    const { code, named } = await checksOf([...STREAM, server.baseURLs.polargrid.replace(server.url, proxy)]);
    expect(code).toBe(1);
    expect(named('headers')).toMatchObject([
      { verdict: 'warning', advice: expect.stringMatching(/^Compression collects/) },
    ]);
    expect(named('stream')).toMatchObject([{ verdict: 'broken' }]);
  });

  it('tells work that is asked for first from its stream', async () => {
    const server = await pacedProviders();
    const args = ['inferencesh', '--stream', '--app', 'a/b', '--base-url', server.baseURLs.inferencesh];
    const { code, named } = await checksOf(args, { env: { INFERENCE_API_KEY: KEY } });
    expect(code).toBe(0);
    expect(named('stream')).toMatchObject([{ verdict: 'ok' }]);
  });

  it('says that a key is wrong', async () => {
    const server = await providers();
    const { code, named } = await checksOf([...STREAM, server.baseURLs.polargrid], {
      env: { POLARGRID_API_KEY: 'invalid' },
    });
    expect(code).toBe(1);
    expect(named('answer')).toMatchObject([{ verdict: 'broken', advice: expect.stringMatching(/key is wrong/) }]);
    expect(named('stream')).toEqual([]);
  });

  it('stops on Ctrl-C with exit code 130', async () => {
    const server = await providers({ pace: { perFrameMs: 1000 } });
    const { stop, exitCode } = cli(['doctor', ...STREAM, server.baseURLs.polargrid], { env });
    await server.nextRequest();
    const { ended } = await server.nextRequest();
    stop();
    expect(await exitCode).toBe(130);
    expect(await ended).toBe('client');
  });
});

describe('millrace doctor --url', () => {
  const frames = 40;
  const dripping = (_: IncomingMessage, response: ServerResponse): void => {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' });
    let left = frames;
    const timer = setInterval(() => {
      response.write(`data: ${String(left)}\n\n`);
      left -= 1;
      if (left > 0) return;
      clearInterval(timer);
      response.end();
    }, 10);
    response.on('close', () => {
      clearInterval(timer);
    });
  };

  it('looks at a server of one’s own, and at what is before it', async () => {
    const host = await listen(createServer(dripping));
    const straight = await checksOf(['--url', `http://${host}/events?key=4711`]);
    expect(straight.code).toBe(0);
    expect(straight.named('stream')).toMatchObject([{ of: `http://${host}/events`, verdict: 'ok', facts: { frames } }]);
    expect(straight.named('headers')[0]?.says).toContain('x-accel-buffering: no');
    const behind = await checksOf(['--url', await proxyBefore(`http://${host}`, collect)]);
    expect(behind.code).toBe(1);
    expect(behind.named('stream')).toMatchObject([{ verdict: 'broken', facts: { frames } }]);
  });

  it('looks no longer than is needed at a stream that never ends', async () => {
    const host = await listen(
      createServer((_, response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        const timer = setInterval(() => response.write('data: x\n\n'), 1);
        response.on('close', () => {
          clearInterval(timer);
        });
      }),
    );
    const { named } = await checksOf(['--url', `http://${host}/`]);
    expect(named('stream')[0]?.facts?.['chunks']).toBeGreaterThanOrEqual(400);
  });

  it('says that a page is no stream', async () => {
    const host = await listen(createServer((_, response) => response.writeHead(404).end('no')));
    const { code, named } = await checksOf(['--url', `http://${host}/`]);
    expect(code).toBe(1);
    expect(named('answer')).toMatchObject([{ verdict: 'broken', says: expect.stringMatching(/^HTTP 404/) }]);
  });
});

describe('how millrace doctor is asked wrongly', () => {
  it.each([
    [['polargird'], /there is no provider 'polargird' \(Did you mean polargrid\?\)/],
    [['--stream'], /say whom/],
    [['azure'], /azure needs --base-url/],
    [['polargrid', '--base-url', 'x'], /--base-url must be/],
    [
      ['polargrid', '--stream', '--base-url', 'http://127.0.0.1:9', '--url', 'http://x'],
      /--url.*--stream|--stream.*--url/,
    ],
    [['polargrid', '--url', 'http://x'], /without a provider/],
    [['--url', 'http://me:k-4711@x'], /without credentials/],
    [['--timeout', 'soon'], /It must be a time such as 30s/],
  ])('%j, which is exit code 2', async (args, says) => {
    const { code, stderr } = await doctor(args);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^millrace: .*\n$/);
    expect(stderr).toMatch(says);
  });

  it('without a model, where one is asked', async () => {
    const server = await providers();
    const { code, stderr } = await doctor(['polargrid', '--stream', '--base-url', server.baseURLs.polargrid]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/polargrid needs --model NAME/);
  });
});
