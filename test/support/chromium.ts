import { existsSync } from 'node:fs';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { type Browser, type CDPSession, chromium, type Page } from 'playwright-core';
import { describe, onTestFinished } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const DEBIAN = '/usr/bin/chromium';

/** The browser that `CHROMIUM_PATH` names, or Debian's; undefined where there is none, or where the name is empty. */
export const chromiumPath: string | undefined = findChromium(process.env['CHROMIUM_PATH']);

function findChromium(named: string | undefined): string | undefined {
  // One that was named and is not there fails when it is launched.
  if (named !== undefined) return named === '' ? undefined : named;
  return existsSync(DEBIAN) ? DEBIAN : undefined;
}

/** A `describe` whose tests are skipped, and say why, where there is no browser. */
export function describeInChromium(name: string, tests: () => void): void {
  const why = chromiumPath === undefined ? ` (skipped: no ${DEBIAN}, and CHROMIUM_PATH names no other)` : '';
  describe.skipIf(chromiumPath === undefined)(`${name}, in Chromium${why}`, tests);
}

/** Starts a headless browser that reaches 127.0.0.1 and nothing else. Whoever starts it closes it: one a test file. */
export async function launchChromium(): Promise<Browser> {
  if (chromiumPath === undefined) throw new Error(`There is no ${DEBIAN}, and CHROMIUM_PATH names no other`);
  return chromium.launch({
    executablePath: chromiumPath,
    headless: true,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--no-proxy-server',
      '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
    ],
    // Users' browsers keep a page that is left, and show it as it was. It is come back to by `goBack({ waitUntil: 'commit' })`:
    // it loads nothing.
    ignoreDefaultArgs: ['--disable-back-forward-cache'],
  });
}

/** How a page's program is bundled. */
export interface BundlePageOptions {
  /** Which React it is given. @defaultValue 19 */
  readonly react?: 18 | 19 | undefined;
  /** Replaced in the program and in what it imports, as esbuild's `define`; `process.env.NODE_ENV` is `"development"` unless given. */
  readonly define?: Readonly<Record<string, string>> | undefined;
}

/** Bundles a page's program, in TypeScript with JSX, as a user's bundler does for a browser; `millrace` is this repository's `src`. */
export async function bundlePage(program: string, options: BundlePageOptions = {}): Promise<string> {
  const { react = 19, define } = options;
  const reactFolder = react === 18 ? `${root}test/support/react18/node_modules` : `${root}node_modules`;
  const { outputFiles } = await build({
    absWorkingDir: root,
    stdin: { contents: program, resolveDir: root, loader: 'tsx', sourcefile: 'page.tsx' },
    bundle: true,
    write: false,
    platform: 'browser',
    format: 'esm',
    target: 'es2022',
    jsx: 'automatic',
    alias: {
      '#io': `${root}src/internal/io.web.ts`,
      '#templates': `${root}src/protocol/templateless.ts`,
      millrace: `${root}src/index.ts`,
      'millrace/providers': `${root}src/providers/index.ts`,
      'millrace/react': `${root}src/react/index.ts`,
      react: `${reactFolder}/react`,
      'react-dom': `${reactFolder}/react-dom`,
    },
    // Not the repository's own, whose paths lead to what Node is given.
    tsconfigRaw: { compilerOptions: { jsx: 'react-jsx' } },
    define: { 'process.env.NODE_ENV': '"development"', ...define },
    sourcemap: 'inline',
    logLevel: 'silent',
  });
  const [output] = outputFiles;
  if (output === undefined) throw new Error('esbuild wrote nothing');
  return output.text;
}

/** What a page is made of, and what its server answers besides. */
export interface ServePageOptions {
  /** The page's program: an ES module, at `/page.js`. */
  readonly script: string;
  /** The page, at `/`; it loads `/page.js` itself. @defaultValue an empty page with `<main id="root">` */
  readonly html?: string | undefined;
  /** Asked first; false where the request is none of its own. */
  readonly routes?: ((request: IncomingMessage, response: ServerResponse) => boolean | Promise<boolean>) | undefined;
}

/** A page's server, listening. */
export interface PageServer {
  /** `http://127.0.0.1:PORT`, without a slash at the end. */
  readonly url: string;
  /** How many connections are open now. */
  connections(): number;
  /** Destroys all sockets. Rejects with what a route threw. */
  close(): Promise<void>;
}

const PAGE = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <title>millrace</title>
    <link rel="icon" href="data:," />
    <script type="module" src="/page.js"></script>
  </head>
  <body>
    <main id="root"></main>
  </body>
</html>
`;

/** Serves a page, its program and the test's own routes, on a free port of 127.0.0.1. */
export async function servePage({ script, html = PAGE, routes }: ServePageOptions): Promise<PageServer> {
  const sockets: Map<Socket, Promise<void>> = new Map();
  const failures: unknown[] = [];
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    if ((await routes?.(request, response)) === true) return;
    const { pathname } = new URL(request.url ?? '/', 'http://page');
    // No `no-store`: it would keep the page out of the back/forward cache.
    if (pathname === '/') response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(html);
    else if (pathname === '/page.js') response.writeHead(200, { 'content-type': 'text/javascript' }).end(script);
    else if (pathname === '/favicon.ico') response.writeHead(204).end();
    else response.writeHead(404, { 'content-type': 'text/plain' }).end('There is nothing here');
  };
  const server = createServer((request, response) => {
    answer(request, response).catch((failure: unknown) => {
      failures.push(failure);
      response.destroy();
    });
  });
  // The test opens and closes connections, and nobody else.
  server.keepAliveTimeout = 0;
  server.requestTimeout = 0;
  server.on('connection', (socket: Socket) => {
    const closed = new Promise<void>((resolve) => {
      socket.once('close', () => {
        sockets.delete(socket);
        resolve();
      });
    });
    sockets.set(socket, closed);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // A TCP server has an AddressInfo, never a pipe's name.
  const { port } = server.address() as AddressInfo;
  let closing: Promise<void> | undefined;
  return {
    url: `http://127.0.0.1:${String(port)}`,
    connections: () => sockets.size,
    close: () =>
      (closing ??= (async () => {
        const closed = once(server, 'close');
        server.close();
        const open = [...sockets];
        for (const [socket] of open) socket.destroy();
        await closed;
        await Promise.all(open.map(([, gone]) => gone));
        if (failures.length > 0) throw new AggregateError(failures, 'A route of the page failed');
      })()),
  };
}

/** What a page may say. */
export interface OpenPageOptions {
  /**
   * Errors in the console that the test provokes. Chromium itself writes there that a resource failed to load: for a cut
   * `net::ERR_INCOMPLETE_CHUNKED_ENCODING`, for a status `the server responded with a status of 429`.
   */
  readonly expectedErrors?: readonly RegExp[] | undefined;
}

/**
 * Opens a page in a context of its own, and closes it when the test has finished. To be called in a test, which fails for every error in the
 * page's console and every exception that nobody caught there.
 */
export async function openPage(browser: Browser, url: string, options: OpenPageOptions = {}): Promise<Page> {
  const { expectedErrors = [] } = options;
  const context = await browser.newContext();
  const errors: string[] = [];
  const note = (error: string): void => {
    if (!expectedErrors.some((expected) => expected.test(error))) errors.push(error);
  };
  onTestFinished(async () => {
    await context.close();
    if (errors.length > 0) throw new Error(`Errors in the page:\n${errors.join('\n')}`);
  });
  const page = await context.newPage();
  page.on('console', (message) => {
    if (message.type() === 'error') note(`${message.text()} (${message.location().url})`);
  });
  page.on('pageerror', (error) => {
    note(error.stack ?? String(error));
  });
  await page.goto(url);
  return page;
}

/** How long a page's main thread was busy at a time. */
export interface LongestTask<T> {
  /** What `run` gave. */
  readonly value: T;
  /** By the clock on the wall, with what else the machine did meanwhile: for the eye. */
  readonly wallMs: number;
  /** What the thread itself worked: for a limit that a busy machine does not break. */
  readonly cpuMs: number;
}

/** Measures the longest task of the page's main thread while `run` runs. One at a time in a browser. */
export async function longestTask<T>(browser: Browser, page: Page, run: () => Promise<T>): Promise<LongestTask<T>> {
  await browser.startTracing(page, { categories: ['disabled-by-default-devtools.timeline', '__metadata'] });
  const value = await run();
  // What `run` waited for may have come from inside of a task: in the next one that is over.
  await page.evaluate(() => new Promise((resolve) => setTimeout(resolve)));
  const trace = await browser.stopTracing();
  // As Chromium writes it; times are in microseconds.
  const { traceEvents } = JSON.parse(trace.toString()) as { traceEvents: TraceEvent[] };
  const mainThreads = traceEvents.filter(({ name, args }) => name === 'thread_name' && args.name === 'CrRendererMain');
  const tasks = traceEvents.filter(
    ({ name, pid, tid }) =>
      name === 'RunTask' && mainThreads.some((thread) => thread.pid === pid && thread.tid === tid),
  );
  if (tasks.length === 0) throw new Error('The trace has no tasks');
  const longest = (times: number[]): number => Math.max(...times) / 1_000;
  return {
    value,
    wallMs: longest(tasks.map(({ dur = 0 }) => dur)),
    cpuMs: longest(tasks.map(({ tdur = 0 }) => tdur)),
  };
}

interface TraceEvent {
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  readonly dur?: number;
  readonly tdur?: number;
  readonly args: { readonly name?: string };
}

/** A page in a tab that can go to the background, where it is hidden and has no frames. Playwright's own pages are always seen. */
export interface Tab {
  /** The value of an expression in the page, a promise's once it has one; it has to be JSON. */
  evaluate(expression: string): Promise<unknown>;
  /** Puts another tab in front of it. */
  hide(): Promise<void>;
  show(): Promise<void>;
}

/** Opens a page as {@link openPage} does, in a tab that can be hidden. To be called in a test. */
export async function openTab(browser: Browser, url: string): Promise<Tab> {
  const session = await browser.newBrowserCDPSession();
  const { browserContextId } = await session.send('Target.createBrowserContext');
  const { targetId } = await session.send('Target.createTarget', { url, browserContextId });
  const other = await session.send('Target.createTarget', { url: 'about:blank', browserContextId });
  const show = async (which: string): Promise<void> => {
    await session.send('Target.activateTarget', { targetId: which });
  };
  const errors: string[] = [];
  onTestFinished(async () => {
    await session.send('Target.disposeBrowserContext', { browserContextId });
    await session.detach();
    if (errors.length > 0) throw new Error(`Errors in the page:\n${errors.join('\n')}`);
  });
  const ask = await attach(session, targetId, (method, params) => {
    if (method === 'Runtime.exceptionThrown' || (method === 'Runtime.consoleAPICalled' && params['type'] === 'error')) {
      errors.push(JSON.stringify(params));
    }
  });
  await ask('Runtime.enable', {});
  await show(targetId);
  return {
    evaluate: async (expression) => {
      const asked = { expression, awaitPromise: true, returnByValue: true };
      // What the protocol says of this method.
      const { result, exceptionDetails } = (await ask('Runtime.evaluate', asked)) as {
        result: { value?: unknown };
        exceptionDetails?: unknown;
      };
      if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails));
      return result.value;
    },
    hide: () => show(other.targetId),
    show: () => show(targetId),
  };
}

interface FromTarget {
  readonly id?: number;
  readonly result?: unknown;
  readonly error?: { readonly message: string };
  readonly method?: string;
  readonly params?: Readonly<Record<string, unknown>>;
}

/** Speaks to a target that Playwright does not know of, through the browser's own session. */
async function attach(
  session: CDPSession,
  targetId: string,
  onEvent: (method: string, params: Readonly<Record<string, unknown>>) => void,
): Promise<(method: string, params: object) => Promise<unknown>> {
  const { sessionId } = await session.send('Target.attachToTarget', { targetId });
  const waiting: Map<number, (message: FromTarget) => void> = new Map();
  session.on('Target.receivedMessageFromTarget', (event) => {
    if (event.sessionId !== sessionId) return;
    const message = JSON.parse(event.message) as FromTarget;
    if (message.id !== undefined) waiting.get(message.id)?.(message);
    else if (message.method !== undefined) onEvent(message.method, message.params ?? {});
  });
  let asked = 0;
  return async (method, params) => {
    const id = (asked += 1);
    const answered = new Promise<FromTarget>((resolve) => waiting.set(id, resolve));
    await session.send('Target.sendMessageToTarget', { sessionId, message: JSON.stringify({ id, method, params }) });
    const { result, error } = await answered;
    waiting.delete(id);
    if (error !== undefined) throw new Error(`${method}: ${error.message}`);
    return result;
  };
}
