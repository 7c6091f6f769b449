/**
 * Starts the example: `npm run example:web`, or `node examples/web/start.mjs`. Ctrl-C stops it.
 *
 *   --port 5173    where it listens; a free port where that is taken, or with 0
 *   --pace 26      milliseconds between two frames of an answer
 *   --dev          serves the page as it is written, and reloads it when a file changes
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { build, createServer as createViteServer } from 'vite';

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '5173' },
    pace: { type: 'string', default: '26' },
    dev: { type: 'boolean', default: false },
  },
});
process.env.NODE_ENV ??= values.dev ? 'development' : 'production';
const config = { configFile: fileURLToPath(new URL('vite.config.ts', import.meta.url)), logLevel: 'error' };
const http = createServer();

console.log('Starting the millhouse ...');

// The server's side is TypeScript as well, which Vite loads; with --dev it serves the page, too.
const vite = await createViteServer({
  ...config,
  optimizeDeps: { noDiscovery: !values.dev },
  server: { middlewareMode: true, ...(values.dev ? { hmr: { server: http } } : { ws: false, watch: null }) },
});
const [{ startBackend }, page] = await Promise.all([
  vite.ssrLoadModule('/server/main.ts'),
  values.dev ? vite.middlewares : builtPage(),
]);
const backend = await startBackend(Number(values.pace));

http.on('request', (request, response) => {
  if (request.url?.startsWith('/api/')) backend.answer(request, response);
  else page(request, response);
});
await listen(Number(values.port));
console.log(`The millhouse is at http://127.0.0.1:${http.address().port} (Ctrl-C stops it)`);

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    http.close();
    await backend.close();
    http.closeAllConnections();
    await vite.close();
  });
}

/** Builds the page, and serves it from memory. */
async function builtPage() {
  const { output } = await build({ ...config, build: { write: false } });
  const files = new Map(output.map(({ fileName, code, source }) => [`/${fileName}`, code ?? source]));
  const types = {
    '.html': 'text/html; charset=utf-8',
    '.js': 'text/javascript',
    '.css': 'text/css',
    '.svg': 'image/svg+xml',
  };
  return (request, response) => {
    const path = request.url === '/' ? '/index.html' : request.url;
    const file = files.get(path);
    if (file === undefined) response.writeHead(404).end();
    else response.writeHead(200, { 'content-type': types[extname(path)] }).end(file);
  };
}

async function listen(port) {
  try {
    await once(http.listen(port, '127.0.0.1'), 'listening');
  } catch (error) {
    if (error.code !== 'EADDRINUSE') throw error;
    await once(http.listen(0, '127.0.0.1'), 'listening');
  }
}
