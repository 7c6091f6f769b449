// What is measured against what. A case is one column of a table: a way to read, and how much there is to read.
import { POLL_MS } from './work.mjs';

const SHARED = { name: 'one shared connection', way: 'tail' };
const POLL = { name: `a read every ${POLL_MS} ms`, way: 'poll' };
const EACH = { name: 'a connection for each reader', way: 'connections' };

/** How `toStore` gathers by default, and longer. */
const FRAME_MS = 16;
const GATHER_MS = 250;
const LONG_GATHER_MS = 1_000;

const number = (value) => value.toLocaleString('en');
const ms = (time) => `${number(time)} ms`;

/**
 * Cases that are measured round by round, one after the other.
 *
 * @typedef {object} Scenario
 * @property {string} name - for `--only`, and the mark in docs/scale.md
 * @property {string} title
 * @property {'redis' | 'sqlite'} backend
 * @property {number} readers - processes, each of which reads every stream
 * @property {readonly Case[]} cases
 *
 * @typedef {object} Case
 * @property {string} name
 * @property {'tail' | 'poll' | 'connections'} way
 * @property {number} streams
 * @property {number} rate - tokens a second of each stream
 * @property {number} gatherMs - of `toStore`
 */

/** The same load, read in several ways. */
function against({ name, backend = 'redis', streams, rate, gatherMs = FRAME_MS, ways }) {
  const gathered = gatherMs === FRAME_MS ? '' : `, gathered for ${gatherMs} ms`;
  const where = backend === 'redis' ? 'Redis' : 'SQLite';
  return {
    name,
    title: `${where}: ${number(streams)} streams × 3 readers, ${rate} tokens/s each${gathered}`,
    backend,
    readers: 3,
    cases: ways.map((way) => ({ ...way, streams, rate, gatherMs })),
  };
}

export function scenarios({ streams, fewStreams }) {
  return [
    against({ name: 'thousand', streams, rate: 5, ways: [SHARED, POLL, EACH] }),
    against({ name: 'gathered', streams, rate: 20, gatherMs: GATHER_MS, ways: [SHARED, POLL, EACH] }),
    against({ name: 'hundred', streams: fewStreams, rate: 30, ways: [SHARED, POLL, EACH] }),
    against({
      name: 'sqlite',
      backend: 'sqlite',
      streams: fewStreams,
      rate: 10,
      ways: [{ ...SHARED, name: 'woken by the store' }, POLL],
    }),
    {
      name: 'one-reader',
      title: `Redis: ${number(streams)} streams × 1 reader, by how long tokens are gathered`,
      backend: 'redis',
      readers: 1,
      cases: [
        [5, FRAME_MS],
        [30, GATHER_MS],
        [30, LONG_GATHER_MS],
      ].map(([rate, gatherMs]) => ({
        name: `${ms(gatherMs)}, ${rate} tokens/s`,
        way: 'tail',
        streams,
        rate,
        gatherMs,
      })),
    },
  ];
}

/** How long the tokens of one answer are gathered, for what it takes in memory. */
export const KEPT = [FRAME_MS, GATHER_MS, LONG_GATHER_MS].map((gatherMs) => ({ name: ms(gatherMs), gatherMs }));

export const SETTINGS = {
  full: { rounds: 3, seconds: 6, streams: 1_000, fewStreams: 100, answerTokens: 600, answerRate: 30, copies: 1_000 },
  quick: { rounds: 1, seconds: 3, streams: 200, fewStreams: 50, answerTokens: 60, answerRate: 30, copies: 100 },
};
