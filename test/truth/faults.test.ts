import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { from, lastValueFrom, mergeMap, toArray } from 'rxjs';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { Player, type World } from '../support/faultPlay.js';
import { closedPort, openClients, startFaultServer, startMuteServer, watchClients } from '../support/faultServer.js';
import { certificates, closeAgents, faultsOfAnswers } from '../support/faultsOfAnswers.js';
import { faultsOfConnections } from '../support/faultsOfConnections.js';
import { faultsInBand, faultsOfContent } from '../support/faultsOfContent.js';
import { faultsOfReaders } from '../support/faultsOfReaders.js';
import { faultsOfFiles, faultsOfOutputs, type SinkRow } from '../support/faultsOfSinks.js';
import { COMMAND, DOCUMENT, type FaultGroup, type PlayedRow, writeFaults } from '../support/faultsTable.js';

/** Requests at a time. */
const AT_ONCE = 96;

const player = new Player();
const root = mkdtempSync(join(tmpdir(), 'millrace-faults-'));
let world: World;
let timersBefore = 0;

const groups: readonly FaultGroup[] = [
  { title: 'The connection', columns: 'points', rows: faultsOfConnections },
  { title: 'The reader leaves', columns: 'points', rows: faultsOfReaders(player) },
  ...faultsOfAnswers,
  ...faultsOfContent,
  { title: 'Failures told in the stream', columns: 'in band', rows: faultsInBand },
  { title: 'Files', rows: faultsOfFiles(root) },
  { title: 'Outputs', rows: faultsOfOutputs },
];

beforeAll(async () => {
  timersBefore = activeTimers();
  const unwatch = watchClients();
  const start = (certificate?: keyof typeof certificates) =>
    startFaultServer(player.answer, certificate && certificates[certificate]);
  const [server, other, good, expired, elsewhere, mute] = await Promise.all([
    start(),
    start(),
    start('good'),
    start('expired'),
    start('other'),
    startMuteServer(),
  ]);
  player.server = server;
  const refused = `http://127.0.0.1:${String(await closedPort())}`;
  world = { server, other, secure: { good, expired, other: elsewhere }, refused, mute: mute.url };
  return async (): Promise<void> => {
    await closeAgents();
    for (const each of [server, other, good, expired, elsewhere, mute]) await each.close();
    unwatch();
    rmSync(root, { recursive: true });
  };
});

/** Each row is played once, by the test that needs it first. */
const played: Map<SinkRow, Promise<PlayedRow>> = new Map();

function play(row: SinkRow): Promise<PlayedRow> {
  const known = played.get(row) ?? playRow(row);
  played.set(row, known);
  return known;
}

async function playRow(row: SinkRow): Promise<PlayedRow> {
  row.setUp?.();
  const problems: string[] = [];
  try {
    const all = await lastValueFrom(
      from(row.cases(world)).pipe(
        mergeMap(async (each) => {
          const told = await player.play(each).catch((error: unknown) => error);
          if (!(told instanceof Error)) return [{ each, seen: told as Awaited<ReturnType<Player['play']>> }];
          const { message, cause } = told;
          problems.push(`${[each.variant.name, each.point].join(' ')}: ${message} (${String(cause)})`);
          return [];
        }, AT_ONCE),
        toArray(),
      ),
    );
    expect(problems).toEqual([]);
    return { row, all: all.flat() };
  } finally {
    vi.restoreAllMocks();
  }
}

describe.each(groups)('$title', ({ rows }) => {
  it.each(rows)('ends as it must: $fault', async (row) => {
    const { all } = await play(row);
    expect(all.length).toBeGreaterThan(0);
  });
});

describe('all of them', () => {
  it('stand in docs/faults.md as they were seen', { timeout: 120_000 }, async () => {
    const seen: { group: FaultGroup; played: PlayedRow[] }[] = [];
    for (const group of groups) {
      const rows: PlayedRow[] = [];
      for (const row of group.rows) rows.push(await play(row));
      seen.push({ group, played: rows });
    }
    const written = await writeFaults(seen);
    if (process.env['MILLRACE_FAULTS'] === 'write') writeFileSync(DOCUMENT, written);
    const document = existsSync(DOCUMENT) ? readFileSync(DOCUMENT, 'utf8') : '';
    expect(document, `docs/faults.md is not what was seen: run ${COMMAND}`).toBe(written);
  });
});

afterAll(async () => {
  console.log(`faults: ${String(played.size)} faults, ${String(player.played)} requests, none ended wrongly`);
  // Connections that are kept wait for the next request; there are no more of them than requests at a time.
  expect(openClients()).toBeLessThanOrEqual(6 * AT_ONCE);
  await vi.waitFor(() => {
    expect(activeTimers() - timersBefore).toBeLessThanOrEqual(4);
  });
  // No flow is open that nobody draws from, and no timeout watches any.
  const stack = (globalThis as Readonly<Record<symbol, unknown>>)[Symbol.for('millrace.flow.3')];
  expect(stack).toMatchObject({ orphans: new Set(), delivering: undefined, subscribing: undefined, watchers: 0 });
});

function activeTimers(): number {
  return process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
}
