// A process for one pipeline, so that no other's garbage and compiled code weigh on it. It does what its parent says:
//   { prepare: 'http', params }              loads the pipeline
//   { round: { cpuMillis, wallMillis } }     runs it, and tells what it took
import process from 'node:process';
import { round } from './round.mjs';

let pipeline;

async function answer(message) {
  if (message.prepare === undefined) return round(pipeline, message.round);
  const { prepare } = await import(`./pipelines/${message.prepare}.mjs`);
  pipeline = await prepare(message.params);
  return {};
}

process.on('message', (message) => {
  answer(message).then(
    (result) => process.send({ result }),
    (error) => process.send({ error: error instanceof Error ? error.stack : String(error) }),
  );
});
process.on('disconnect', () => process.exit());
