import { once } from 'node:events';
import { performance } from 'node:perf_hooks';
import { type ProviderRequest, type ProviderServer, startProviderServer } from '../testing/index.js';
import { type CLIContext, colorsFor, onReaderLeft } from './context.js';
import { EXIT, type ExitCode } from './exitCodes.js';

/** What `millrace mock` takes. */
export interface MockOptions {
  readonly port: number;
  readonly pace: number;
  readonly auth: boolean;
  readonly cors?: true;
}

/** Answers as the five providers do, until Ctrl-C. */
export async function mock({ port, pace, auth, cors }: MockOptions, context: CLIContext): Promise<ExitCode> {
  const { stdout, env, signal } = context;
  const stop = new AbortController();
  const end = (): void => {
    stop.abort();
  };
  const stopListening = onReaderLeft(stdout, end);
  const server = await startProviderServer({
    port,
    pace: pace === 0 ? 'full' : { perFrameMs: pace },
    auth: auth ? 'required' : 'none',
    cors: cors === true ? 'any' : 'none',
  });
  try {
    stdout.write(instructions(server, auth));
    const { dim } = colorsFor(stdout, env);
    logRequests(server, (line) => {
      stdout.write(`${dim(line)}\n`);
    });
    const stopped = AbortSignal.any([signal, stop.signal]);
    if (!stopped.aborted) await once(stopped, 'abort');
  } finally {
    stopListening();
    await server.close();
  }
  return EXIT.complete; // Ctrl-C is how a server ends
}

function instructions({ url, baseURLs }: ProviderServer, auth: boolean): string {
  const urls = Object.entries({
    ...baseURLs,
    infernetOrigin: `${baseURLs.infernetOrigin}  (native chat, OpenAI dialect)`,
  });
  const width = Math.max(...urls.map(([name]) => name.length));
  const key = auth ? "  -H 'authorization: Bearer any' \\\n" : '';
  const rule = auth ? 'Any key will do but `invalid`, which is answered with 401.' : 'No key is asked for.';
  return `millrace mock: answers as nine providers do, on ${url}. Ctrl-C ends it.
${rule}

${urls.map(([name, base]) => `  ${name.padEnd(width)}  ${base}`).join('\n')}

Try it:

curl -N ${baseURLs.polargrid}/chat/completions \\
${key}  -H 'content-type: application/json' \\
  -d '{"model":"millwheel-1","stream":true,"messages":[{"role":"user","content":"Tell me a story"}]}'

${auth ? 'POLARGRID_API_KEY=any ' : ''}npx millrace ask -p polargrid -m millwheel-1 --base-url ${baseURLs.polargrid} 'Tell me a story'

Requests, one line each when it is over:
`;
}

function logRequests(server: ProviderServer, print: (line: string) => void): void {
  const next = async (): Promise<void> => {
    for (;;) {
      const request = await server.nextRequest();
      const at = performance.now();
      void request.ended.then((ending) => {
        print(requestLine(request, ending, performance.now() - at));
      });
    }
  };
  next().catch(() => undefined); // The server was closed: no request is to come.
}

const ENDINGS = { complete: 'answered', client: 'client left', server: 'cut' } as const;

function requestLine(request: ProviderRequest, ending: keyof typeof ENDINGS, ms: number): string {
  const time = new Date(request.at).toISOString().slice(11, 19);
  const bytes = `${String(request.bytesSent)} bytes`;
  return `${time}  ${request.method.padEnd(4)} ${request.path}  ${ENDINGS[ending]}  ${bytes}  ${String(Math.round(ms))} ms`;
}
