// The servers of all HTTP rows, in a process of their own. Prints their ports as JSON; ends when its stdin does.
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { createFullServer } from './fullServer.mjs';
import { createPacedServer } from './pacedServer.mjs';

/** Starts both on ports of their own. */
export async function listen() {
  const servers = { full: createFullServer(), paced: createPacedServer() };
  const ports = {};
  for (const [name, server] of Object.entries(servers)) {
    await new Promise((resolve) => server.listen(0, '127.0.0.1', 4096, resolve));
    ports[name] = server.address().port;
  }
  return { ports, close: () => Object.values(servers).forEach((server) => server.close()) };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { ports } = await listen();
  console.log(JSON.stringify(ports));
  process.stdin.resume().on('end', () => process.exit());
}
