import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { lastValueFrom, toArray } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type JobReceipt, type JobRecord, type OpenJobJournal, runJobs, type RunJobsOptions } from 'millrace';
import { fakeCall } from 'millrace/testing';

const text = (content: string) => ({ type: 'text', text: content, index: 0, name: 'output' }) as const;
const whole = fakeCall([text('whole'), { type: 'finish', reason: 'stop' }]);

/** A run of one job with a journal of the test's own, whose token is `2`. */
async function run(
  known: JobRecord | undefined,
  files: Readonly<Record<string, string>>,
  journal: Partial<OpenJobJournal> = {},
  options: Partial<RunJobsOptions<string>> = {},
): Promise<{ readonly dir: string; readonly receipts: readonly JobReceipt<string>[]; readonly records: JobRecord[] }> {
  const dir = await mkdtemp(join(tmpdir(), 'millrace-shared-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  for (const [name, content] of Object.entries(files)) await writeFile(join(dir, name), content);
  const records: JobRecord[] = [];
  const open: OpenJobJournal = {
    token: '2',
    read: () => Promise.resolve(known),
    write: (record) => {
      // Killed at this moment, the next run would know of no earlier one than this.
      if (record.state === 'begun' && known !== undefined) expect(existsSync(join(dir, 'a.md.1.partial'))).toBe(false);
      records.push(record);
      return Promise.resolve();
    },
    close: () => Promise.resolve(),
    ...journal,
  };
  const receipts = await lastValueFrom(
    runJobs(['a'], {
      key: (job) => job,
      call: () => whole,
      file: (job) => `${job}.md`,
      dir,
      journal: { open: () => Promise.resolve(open) },
      ...options,
    }).pipe(toArray()),
  );
  return { dir, receipts, records };
}

describe('runs that share a folder', () => {
  it('remove what is left of the run before, before they begin', async () => {
    const { dir, records } = await run({ key: 'a', state: 'begun', runs: 1, token: '1' }, { 'a.md.1.partial': 'half' });
    expect(await readdir(dir)).toEqual(['a.md']);
    expect(await readFile(join(dir, 'a.md'), 'utf8')).toBe('whole');
    expect(records.map(({ state, runs, token }) => [state, runs, token])).toEqual([
      ['begun', 2, '2'],
      ['written', 2, '2'],
      ['published', 2, '2'],
    ]);
  });

  it('leave each other’s unfinished files alone, and take no lock', async () => {
    const { dir } = await run(undefined, { 'a.md.1.partial': 'another’s', 'a.md.partial.owner': '1 1 elsewhere' });
    expect((await readdir(dir)).sort()).toEqual(['a.md', 'a.md.1.partial', 'a.md.partial.owner']);
  });

  it('give an answer its name that another has written, and ask nothing', async () => {
    const [receipt] = (await run(undefined, {})).receipts;
    expect(receipt?.bytes).toBe(5);
    const known: JobRecord = { key: 'a', state: 'written', runs: 1, token: '1', receipt };
    const { dir, receipts, records } = await run(known, { 'a.md.1.partial': 'WHOLE' });
    expect(await readdir(dir)).toEqual(['a.md']);
    expect(await readFile(join(dir, 'a.md'), 'utf8')).toBe('WHOLE');
    expect(receipts).toMatchObject([{ outcome: 'complete', skipped: true, where: join(dir, 'a.md') }]);
    expect(records).toMatchObject([{ state: 'published', token: '1' }]);
  });

  it('say where what is left of a cut answer is, and whose', async () => {
    const cut = fakeCall([text('half')]);
    const { dir, receipts, records } = await run(undefined, {}, {}, { call: () => cut, retry: { count: 0 } });
    expect(receipts).toMatchObject([{ outcome: 'interrupted', where: join(dir, 'a.md.2.partial') }]);
    expect(records.at(-1)).toMatchObject({ state: 'ended', token: '2' });
  });

  it('ask nothing that may be another’s by now', async () => {
    const { dir, receipts } = await run(undefined, {}, { holds: () => false });
    expect(receipts).toMatchObject([{ outcome: 'failed', error: { code: 'ERR_STORE' } }]);
    expect(await readdir(dir)).toEqual([]);
  });
});
