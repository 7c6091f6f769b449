// A process that writes or reads for the benchmark, as its parent says: { call: 'open', args }, answered by { result } or { error }.
// `cpu` is answered here: what the process has used since it was started.
import process from 'node:process';
import { Reader } from './reader.mjs';
import { Writer } from './writer.mjs';

const [, , role] = process.argv;
const worker = role === 'writer' ? new Writer() : new Reader();

async function answer({ call, args }) {
  if (call !== 'cpu') return worker[call](args);
  const { user, system } = process.cpuUsage();
  return user + system;
}

process.on('message', (message) => {
  answer(message).then(
    (result) => process.send({ result }),
    (error) => process.send({ error: error instanceof Error ? error.stack : String(error) }),
  );
});
process.on('disconnect', () => process.exit());
