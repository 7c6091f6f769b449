import * as fc from 'fast-check';
import { VirtualTimeScheduler } from 'rxjs';
import { expect, it } from 'vitest';
import { GateBoard, gateWords } from '../../../src/cli/run/gateBoard.js';
import { RunTally } from '../../../src/cli/run/runTally.js';
import { costWords, leftWords, tokenWords } from '../../../src/cli/run/runWords.js';
import { Spending } from '../../../src/cli/run/spending.js';
import { failure, job, receiptOf } from './fixtures.js';

const START = { jobs: 1_000, finished: 0, folder: 'answers' };

/** A clock that the test turns. */
function clock(): VirtualTimeScheduler {
  return new VirtualTimeScheduler();
}

it('knows the time left from the rate at which the last jobs ended, and not before as many have as run at once', () => {
  const scheduler = clock();
  const tally = new RunTally({ ...START, jobs: 100 }, scheduler);
  const running = Array.from({ length: 5 }, (_, n) => job(String(n)));
  for (const one of running) tally.start(one);
  for (const one of running.slice(0, 4)) {
    scheduler.frame += 1_000;
    tally.end(receiptOf(one));
    expect(tally.read()).toMatchObject({ leftMs: undefined, jobsPerMinute: undefined });
  }
  scheduler.frame += 1_000;
  tally.end(receiptOf(running[4] ?? job('x')));
  expect(tally.read()).toMatchObject({ leftMs: 95_000, jobsPerMinute: 60, done: 5, running: 0 });
});

it('lets the time left grow while nothing ends', () => {
  const scheduler = clock();
  const tally = new RunTally({ ...START, jobs: 20 }, scheduler);
  for (let n = 0; n < 10; n += 1) {
    scheduler.frame += 1_000;
    tally.end(receiptOf(job(String(n))));
  }
  expect(tally.read().leftMs).toBe(10_000);
  scheduler.frame += 50_000;
  expect(tally.read().leftMs).toBe(60_000);
});

it('forgets how slow a run was that has become fast', () => {
  const scheduler = clock();
  const tally = new RunTally({ ...START, jobs: 2_000 }, scheduler);
  for (let n = 0; n < 1_000; n += 1) {
    scheduler.frame += n < 500 ? 10_000 : 100;
    tally.end(receiptOf(job(String(n))));
  }
  expect(tally.read()).toMatchObject({ leftMs: 100_000, jobsPerMinute: 600 });
});

it('counts jobs that an earlier run has finished once, however they come, and takes nothing from them', () => {
  const scheduler = clock();
  const tally = new RunTally({ ...START, jobs: 10, finished: 3 }, scheduler);
  for (let n = 0; n < 3; n += 1) expect(tally.end(receiptOf(job(String(n)), { skipped: true }))).toBe(false);
  expect(tally.end(receiptOf(job('new')))).toBe(true);
  expect(tally.read()).toMatchObject({ done: 4, finished: 3, complete: 1, spent: { cost: [{ total: 0.001 }] } });
});

it('counts what is stopped as not done, and what is withheld as failed', () => {
  const tally = new RunTally({ ...START, jobs: 4 }, clock());
  tally.end(receiptOf(job('a'), { outcome: 'stopped', by: 'signal' }));
  tally.end(receiptOf(job('b'), { outcome: 'interrupted' }));
  tally.end(receiptOf(job('c'), { finish: { reason: 'length' }, where: '/answers/c.md.partial' }));
  tally.end(receiptOf(job('d'), failure('no')));
  expect(tally.read()).toMatchObject({ done: 3, complete: 0, failed: 3, stopped: 1 });
});

it('waits only for those that run, once no more are begun', () => {
  const scheduler = clock();
  const tally = new RunTally({ ...START, jobs: 100 }, scheduler);
  tally.start(job('x'));
  for (let n = 0; n < 10; n += 1) {
    scheduler.frame += 1_000;
    tally.end(receiptOf(job(String(n))));
  }
  tally.stop();
  expect(tally.read().leftMs).toBe(1_000);
});

it('adds up money by its currency, exactly, and never takes unknown for nothing', () => {
  const spending = new Spending();
  expect(costWords(spending.read())).toBe('');
  for (let n = 0; n < 10; n += 1) spending.add({ provenance: 'reported', cost: { total: 0.1, currency: 'USD' } });
  spending.add({ provenance: 'reported', cost: { total: 3, currency: 'EUR' }, inputTokens: 4 });
  spending.add({ provenance: 'partial', cost: { total: 0 }, totalTokens: 7 });
  spending.add({ provenance: 'unknown' });
  expect(spending.read()).toEqual({
    cost: [
      { currency: 'USD', total: 1 },
      { currency: 'EUR', total: 3 },
      { currency: null, total: 0 },
    ],
    costUnknown: 1,
    inputTokens: 4,
    outputTokens: null,
    totalTokens: 7,
    tokensUnknown: 11,
    partial: 1,
  });
  expect(costWords(spending.read())).toBe('1 USD + 3 EUR + 0 (1 unknown)');
  expect(tokenWords(spending.read())).toBe('4 tokens in, ? out (11 unknown, 1 in part)');
});

it('has sums that do not depend on the order', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 1_000_000 }), { maxLength: 60 }), (micros) => {
      const sum = (all: readonly number[]): unknown => {
        const spending = new Spending();
        for (const micro of all)
          spending.add({ provenance: 'reported', cost: { total: micro / 1e6, currency: 'USD' } });
        return spending.read().cost[0]?.total;
      };
      expect(sum(micros)).toBe(sum([...micros].reverse()));
      expect(sum(micros)).toBe(
        micros.length === 0 ? undefined : Number((micros.reduce((a, b) => a + b, 0) / 1e6).toPrecision(12)),
      );
    }),
  );
});

it('says roughly what nobody knows exactly', () => {
  expect([undefined, 0, 1_200, 42_000, 95_000, 5_000_000, 9_000_000].map(leftWords)).toEqual([
    '– left',
    'about 0 s left',
    'about 2 s left',
    'about 40 s left',
    'about 2 min left',
    'about 83 min left',
    'about 2 h 30 min left',
  ]);
});

it('tells a gate that closes once, however many are refused, and forgets one that limits nobody', () => {
  const scheduler = clock();
  const gates = new GateBoard(scheduler);
  const note = { name: 'api', limit: 4, most: 8, closedForMs: 2_000 };
  expect(gates.take(note)).toBe(true);
  scheduler.frame += 100;
  expect(gates.take(note)).toBe(false);
  gates.take({ name: 'other', limit: 2, closedForMs: 0 });
  gates.take({ name: 'free', limit: Infinity, closedForMs: 0 });
  expect(gates.limiting().map((gate) => [gate.name, gateWords(gate)])).toEqual([
    ['api', 'closed for 2 s, 4 of 8 at once'],
    ['other', '2 at once'],
  ]);
  scheduler.frame += 2_000;
  expect(gates.limiting().map(gateWords)).toEqual(['2 at once', '4 of 8 at once']);
  expect(gates.take({ ...note, limit: 8, closedForMs: 0 })).toBe(false);
  expect(gates.limiting().map(({ name }) => name)).toEqual(['other']);
  expect(gates.take(note)).toBe(true);
});
