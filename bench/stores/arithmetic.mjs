// What a million streams at once would take, from what was measured with a thousand. Each row says which of the two it is.
import { readFileSync } from 'node:fs';
import { amount } from './tables.mjs';

/** A stated workload: chat answers of a usual length at a usual pace, kept while somebody may come back. */
export const WORKLOAD = { streams: 1_000_000, rate: 30, answerTokens: 600, keptSeconds: 300 };
/** What is left free: a processor for what is uneven, memory for copies while Redis writes its file anew. */
export const BUSY = 0.6;
export const SHARD_GIB = 16;

const GIB = 2 ** 30;

/** Rows of cells, the first of them the head. */
export function arithmeticOf(results) {
  const columns = columnsOf(results);
  const row = (what, how, of) => [what, how, ...columns.map((column) => of(column))];
  const each = (what, how, of, unit) => row(what, how, (column) => `${amount(of(column))} ${unit}`.trimEnd());
  const { streams, rate, answerTokens, keptSeconds } = WORKLOAD;
  const begun = (streams * rate) / answerTokens;
  return [
    ['tokens are gathered for', '', ...columns.map(({ name }) => name)],
    each('Redis’ processor time a token', 'measured', ({ serverCPU }) => serverCPU, 'µs'),
    each('the writer’s, for the store', 'measured', ({ writerCPU }) => writerCPU, 'µs'),
    each('the writer’s, to read the provider’s stream', 'measured', ({ readingCPU }) => readingCPU, 'µs'),
    each('the reader’s', 'measured', ({ readerCPU }) => readerCPU, 'µs'),
    each('all of these, for a million tokens', 'arithmetic', ({ tokenCPU }) => tokenCPU, 's'),
    each('an answer of 600 tokens, closed, in memory', 'measured', ({ closedBytes }) => closedBytes / 1000, 'kB'),
    each('tokens a second', 'arithmetic', () => streams * rate, ''),
    each('answers begun a second', 'arithmetic', () => begun, ''),
    each('answers in memory that are over', 'arithmetic', () => begun * keptSeconds, ''),
    each('memory', 'arithmetic', ({ memory }) => memory / GIB, 'GiB'),
    each(`Redis servers of ${SHARD_GIB} GiB, for the memory`, 'arithmetic', ({ forMemory }) => forMemory, ''),
    each(`Redis servers at ${BUSY * 100} % of a processor`, 'arithmetic', ({ forCPU }) => forCPU, ''),
    each('so many servers', 'arithmetic', ({ servers }) => servers, ''),
    each('streams that are written, on each', 'arithmetic', ({ servers }) => streams / servers, ''),
    each('commands a second, on each', 'arithmetic', ({ commands, servers }) => (streams * commands) / servers, ''),
    each('to its disk a second', 'arithmetic', ({ written, servers }) => perSecond(written, servers) / 1e6, 'MB'),
    each('to it over the network', 'arithmetic', ({ received, servers }) => megabits(received, servers), 'Mbit/s'),
    each('from it over the network', 'arithmetic', ({ sent, servers }) => megabits(sent, servers), 'Mbit/s'),
    each('writing processes', 'arithmetic', ({ writers }) => writers, ''),
    each('reading processes', 'arithmetic', ({ readers }) => readers, ''),
    each('connections of a server, in cells', 'arithmetic', ({ inCell }) => inCell, ''),
    each('the same, each process to each server', 'arithmetic', ({ writers, readers }) => writers + 2 * readers, ''),
  ];
}

const perSecond = (bytes, servers) => (bytes * WORKLOAD.streams * WORKLOAD.rate) / servers;
const megabits = (bytes, servers) => (perSecond(bytes, servers) * 8) / 1e6;

function columnsOf({ tables, settings }) {
  const of = (row, metric) => tables.find((table) => table.row === row && table.metric === metric).lines;
  const readingCPU = readingOf();
  return of('memory', 'closedBytes').map(({ name, median: closedBytes }, at) => {
    const measured = (metric) => of('one-reader', metric)[at].median;
    const [serverCPU, writerCPU, readerCPU] = ['serverCPU', 'writerCPU', 'readerCPU'].map(measured);
    const [written, received, sent] = ['written', 'received', 'sent'].map(measured);
    const { streams, rate, answerTokens, keptSeconds } = WORKLOAD;
    const tokens = streams * rate;
    // Of those that are being written, the one half is there.
    const open = of('memory', 'openBytes')[at].median / 2;
    const memory = streams * open + ((tokens * keptSeconds) / answerTokens) * closedBytes;
    const processors = (micros) => Math.ceil((tokens * micros) / 1e6 / BUSY);
    const forCPU = processors(serverCPU);
    const forMemory = Math.ceil(memory / (SHARD_GIB * GIB));
    const servers = Math.max(forCPU, forMemory);
    const writers = processors(writerCPU + readingCPU);
    const readers = processors(readerCPU);
    // A stream that is measured has so many commands a second as its pace gives.
    const commands = (measured('commands') / (measured('pace') * settings.streams)) * rate;
    return {
      name,
      serverCPU,
      writerCPU,
      readerCPU,
      readingCPU,
      tokenCPU: serverCPU + writerCPU + readerCPU + readingCPU,
      closedBytes,
      memory,
      forCPU,
      forMemory,
      servers,
      commands,
      written,
      received,
      sent,
      writers,
      readers,
      inCell: Math.ceil(writers / servers) + 2 * Math.ceil(readers / servers),
    };
  });
}

/** What a token costs that comes over HTTP, one in a packet, in the other benchmark. */
function readingOf() {
  const { tables } = JSON.parse(readFileSync(new URL('../results.json', import.meta.url), 'utf8'));
  const { lines } = tables.find(({ row, metric }) => row === 'paced' && metric === 'cpuPerToken');
  return lines.find(({ name }) => name === 'millrace').median;
}
