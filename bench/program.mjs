// Handles of the other processes: pipelines, and the server.
import { fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const path = (name) => fileURLToPath(new URL(name, import.meta.url));

/** No peer may call home, nor go to loopback through somebody's proxy. */
function quietEnvironment() {
  const env = { ...process.env, DO_NOT_TRACK: '1', OTEL_SDK_DISABLED: 'true', NODE_ENV: 'production' };
  for (const name of ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'NODE_OPTIONS']) {
    delete env[name];
    delete env[name.toLowerCase()];
  }
  return env;
}

/** One pipeline in a process of its own. */
export class Program {
  name;
  #child;
  #exited;

  constructor({ name, title, dist, profile }) {
    this.name = name;
    const file = `${`${title} ${name}`.replaceAll(/\W+/g, '-')}.cpuprofile`;
    this.#child = fork(path('child.mjs'), {
      env: { ...quietEnvironment(), ...(dist && { MILLRACE_DIST: dist }) },
      execArgv: profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`, `--cpu-prof-name=${file}`],
    });
    this.#exited = once(this.#child, 'exit').then(([code, signal]) => {
      throw new Error(`${name}: its process ended (${signal ?? code})`);
    });
    this.#exited.catch(() => undefined); // heard where an answer is awaited, and expected at the end
  }

  async prepare(pipeline, params) {
    await this.#ask({ prepare: pipeline, params });
  }

  /** Runs for so long, at least once, and tells what it took. */
  round(limits) {
    return this.#ask({ round: limits });
  }

  async stop() {
    if (this.#child.connected) this.#child.disconnect();
    await this.#exited.catch(() => undefined);
  }

  async #ask(message) {
    const answer = once(this.#child, 'message');
    this.#child.send(message);
    const [{ result, error }] = await Promise.race([answer, this.#exited]);
    if (error !== undefined) throw new Error(`${this.name}: ${error}`);
    return result;
  }
}

/** Starts the servers; they end with this process, or when `stop` is called. */
export async function startServer() {
  const child = spawn(process.execPath, [path('server.mjs')], {
    env: quietEnvironment(),
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const [line] = await once(createInterface({ input: child.stdout }), 'line');
  return { ports: JSON.parse(line), stop: () => child.stdin.end() };
}
