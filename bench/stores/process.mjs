// Handles of the processes that write and read.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const file = fileURLToPath(new URL('child.mjs', import.meta.url));

/** A writer or a reader in a process of its own. */
export class Worker {
  #role;
  #child;
  #exited;

  /** @param profile - a folder for a .cpuprofile of the process, where one is wanted */
  constructor(role, profile) {
    this.#role = role;
    this.#child = fork(file, [role], {
      env: { ...process.env, NODE_ENV: 'production' },
      execArgv: profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`],
      serialization: 'advanced', // times are arrays of numbers
    });
    this.#exited = once(this.#child, 'exit').then(([code, signal]) => {
      throw new Error(`the ${role}'s process ended (${signal ?? code})`);
    });
    this.#exited.catch(() => undefined); // heard where an answer is awaited, and expected at the end
  }

  /** One question at a time. */
  async ask(call, args) {
    const answer = once(this.#child, 'message');
    this.#child.send({ call, args });
    const [{ result, error }] = await Promise.race([answer, this.#exited]);
    if (error !== undefined) throw new Error(`${this.#role}: ${error}`);
    return result;
  }

  async stop() {
    if (this.#child.connected) this.#child.disconnect();
    await this.#exited.catch(() => undefined);
  }
}
