// One round: a writer, and readers of one kind, for some seconds.
import { cpus } from 'node:os';
import { micros } from '../clock.mjs';

let runs = 0;

/** Runs once, and tells what it took. `team` is a writer and readers, each reading every stream once. */
export async function round({ writer, readers }, backend, { way, streams, rate, seconds, gatherMs }) {
  runs += 1;
  await backend.clear();
  const tokens = Math.round(rate * seconds);
  const work = { place: backend.store, run: runs, streams, tokens };
  await writer.ask('open', { ...work, intervalMicros: 1e6 / rate, gatherMs });
  const ofWriter = await backend.connections?.();
  await Promise.all(readers.map((reader) => reader.ask('open', { ...work, way })));
  const ofAll = await backend.connections?.();
  const everybody = [writer, ...readers];
  const usage = async () => ({
    cpu: await Promise.all(everybody.map((one) => one.ask('cpu'))),
    server: await backend.usage?.(),
    machine: busyMicros(),
    at: micros(),
  });
  const before = await usage();
  const [{ entries }] = await Promise.all([writer.ask('run'), ...readers.map((reader) => reader.ask('run'))]);
  const after = await usage();
  const { made, handed } = await writer.ask('times');
  const arrivals = [];
  for (const reader of readers) arrivals.push((await reader.ask('times')).came);
  await writer.ask('end');
  await Promise.all(readers.map((reader) => reader.ask('end')));
  const [writerCPU, ...readerCPU] = after.cpu.map((cpu, at) => cpu - before.cpu[at]);
  const wall = after.at - before.at;
  const measured = streams * tokens;
  const deliveries = measured * readers.length;
  const readersCPU = readerCPU.reduce((sum, cpu) => sum + cpu, 0);
  const ours = writerCPU + readersCPU + (serverCPU(before, after) ?? 0);
  return {
    entrySize: measured / entries,
    pace: (tokens * 1e6) / wall,
    ...latencies('added', handed, arrivals, tokens + 1),
    ...latencies('whole', made, arrivals, tokens + 1),
    writerCPU: writerCPU / measured,
    readerCPU: readersCPU / deliveries,
    cores: ours / wall,
    otherCores: Math.max(0, after.machine - before.machine - ours) / wall,
    ...ofServer(before, after, { measured, entries, wall }),
    ...(ofAll !== undefined && { writerConnections: ofWriter, readerConnections: ofAll - ofWriter }),
  };
}

/** What the machine's processors have worked since it was started. */
function busyMicros() {
  return cpus().reduce((sum, { times: { user, nice, sys, irq } }) => sum + (user + nice + sys + irq) * 1000, 0);
}

function serverCPU(before, after) {
  return before.server === undefined ? undefined : after.server.cpuMicros - before.server.cpuMicros;
}

function ofServer(before, after, { measured, entries, wall }) {
  if (before.server === undefined) return {};
  const grown = (name) => after.server[name] - before.server[name];
  return {
    serverCPU: grown('cpuMicros') / measured,
    serverShare: (grown('cpuMicros') / wall) * 100,
    commands: (grown('commands') * 1e6) / wall,
    readCommands: ((grown('commands') - entries) * 1e6) / wall,
    received: grown('receivedBytes') / measured,
    sent: grown('sentBytes') / measured,
    written: grown('fileBytes') / measured,
  };
}

/** How long tokens took from a time of theirs to each of the readers; the first one of a stream is not measured. */
function latencies(name, from, arrivals, perStream) {
  const all = new Float64Array(arrivals.length * from.length);
  let count = 0;
  for (const came of arrivals) {
    for (let at = 0; at < from.length; at += 1) {
      if (at % perStream === 0) continue;
      all[count] = came[at] - from[at];
      count += 1;
    }
  }
  const sorted = all.subarray(0, count).sort();
  const quantile = (share) => sorted[Math.floor((count - 1) * share)] / 1000;
  return { [`${name}P50`]: quantile(0.5), [`${name}P99`]: quantile(0.99) };
}
