import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bundle } from './bundle.js';

/** What a program offers its parent. */
export interface Served<Ready extends object, State extends object> {
  readonly ready: Ready;
  readonly state: () => State;
}

/** A server in a process of its own, so that its memory and its time are not those of what is measured. */
export interface Child<Ready, State> {
  /** What it said when it was listening. */
  readonly ready: Ready;
  /** What it knows now. */
  readonly ask: () => Promise<State>;
  readonly close: () => Promise<void>;
}

/** @param serve - the function after which a file in this folder is named; it runs in the child */
export async function startChild<Ready extends object, State extends object>(
  serve: () => Promise<Served<Ready, State>>,
): Promise<Child<Ready, State>> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-soak-'));
  const program = join(folder, 'program.mjs');
  await bundle(
    `import { ${serve.name} } from './test/support/${serve.name}.ts';
    const { ready, state } = await ${serve.name}();
    process.on('message', () => process.send(state()));
    process.on('disconnect', () => process.exit());
    process.send(ready);`,
    program,
  );
  const child = fork(program, { execArgv: [], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const ready = (await answerOf(child)) as Ready; // by the program above
  let last: Promise<unknown> = Promise.resolve();
  return {
    ready,
    ask: () => {
      const answer = last.then(() => {
        child.send('state');
        return answerOf(child);
      });
      last = answer;
      return answer as Promise<State>; // by the program above
    },
    close: async () => {
      if (child.exitCode === null) {
        const exited = once(child, 'exit');
        child.disconnect();
        await exited;
      }
      await rm(folder, { recursive: true });
    },
  };
}

async function answerOf(child: ChildProcess): Promise<unknown> {
  const gone = new AbortController();
  const onExit = (): void => {
    gone.abort(new Error('the server of the soak has died'));
  };
  child.once('exit', onExit);
  try {
    const [message] = (await once(child, 'message', { signal: gone.signal })) as [unknown];
    return message;
  } finally {
    child.off('exit', onExit);
  }
}
