/** A program that shows a run on its terminal, as a test tells it to over a socket: by the texts of its `print` commands. */
import { createServer } from 'node:net';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { performance } from 'node:perf_hooks';
import { colorsFor } from '../../../src/cli/context.js';
import { liveRunView } from '../../../src/cli/run/liveRunView.js';
import type { RunView } from '../../../src/cli/run/runView.js';
import { failure, job, receiptOf } from './fixtures.js';

/** Listens on the socket that the environment names in `CONTROL`. */
export function runLiveProgram(): void {
  let view: RunView | undefined;
  const obey = (text: string): void => {
    const [verb = '', id = ''] = text.split(' ');
    switch (verb) {
      case 'open':
        view = liveRunView(
          process.stdout,
          { jobs: Number(id), finished: 0, folder: 'answers' },
          colorsFor(process.stdout, process.env),
        );
        break;
      case 'start':
        view?.start(job(id));
        view?.show(job(id), { type: 'text', text: `words of ${id} `.repeat(20), index: 0, name: 'output' });
        break;
      case 'end':
        view?.end(receiptOf(job(id)));
        break;
      case 'fail':
        view?.end(receiptOf(job(id), failure('the mill has burnt down')));
        break;
      case 'signals': {
        let count = 0;
        process.on('SIGINT', () => {
          count += 1;
          if (count === 3) process.exit(130);
          view?.stop(count === 1 ? 'draining' : 'stopping', 'Ctrl-C');
        });
        break;
      }
      case 'flood':
        flood(view);
        break;
      case 'close':
        view?.close();
        process.exit(0);
    }
  };
  createServer((socket) => {
    socket.unref();
    createInterface({ input: socket }).on('line', (line) => {
      obey((JSON.parse(line) as { readonly text: string }).text); // the test's own
    });
  }).listen(process.env['CONTROL'], () => {
    process.stdout.write(`ready ${String(process.pid)}\n`);
  });
}

/** A thousand jobs, a hundred at once, a token of each every 20 ms; then says what it cost the processor. */
function flood(view: RunView | undefined): void {
  const jobs = Array.from({ length: 1_000 }, (_, n) => job(`job-${String(n)}`));
  const startedAt = performance.now();
  const before = process.cpuUsage();
  let [begun, ended] = [0, 0];
  const timer = setInterval(() => {
    const due = Math.min(900, Math.floor((performance.now() - startedAt) / 4));
    while (begun < due + 100) {
      const one = jobs[begun];
      if (one !== undefined) view?.start(one);
      begun += 1;
    }
    for (const one of jobs.slice(ended, ended + 100)) {
      view?.show(one, { type: 'text', text: 'token ', index: 0, name: 'output' });
    }
    for (; ended < due; ended += 1) {
      const one = jobs[ended];
      if (one !== undefined) view?.end(receiptOf(one));
    }
    if (due < 900) return;
    clearInterval(timer);
    const { user, system } = process.cpuUsage(before);
    const share = (user + system) / 10 / (performance.now() - startedAt);
    view?.say(`flooded: ${share.toFixed(1)} % of a processor`);
  }, 20);
}
