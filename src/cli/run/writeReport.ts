import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import type { JobReceipt } from '../../index.js';
import { failedJobs } from './failedJobs.js';
import type { FileJob } from './fileJob.js';
import { reportPage } from './reportPage.js';
import type { RunReport } from './runReport.js';

/** Writes `report.json`, `report.html` and, where jobs have failed, `failed.jsonl`; each has its name when it is whole. */
export async function writeReport(
  folder: string,
  report: RunReport,
  jobs: readonly FileJob[],
  receipts: readonly JobReceipt<FileJob>[],
): Promise<void> {
  await write(folder, 'report.json', `${JSON.stringify(report, null, 2)}\n`);
  await write(folder, 'report.html', reportPage(report));
  await write(folder, 'failed.jsonl', failedJobs(jobs, receipts));
}

async function write(folder: string, name: string, text: string): Promise<void> {
  const path = join(folder, name);
  if (text === '') {
    await rm(path, { force: true }); // an earlier run's
    return;
  }
  const draft = join(folder, '.millrace', `.millrace-${String(process.pid)}-${name}`); // what a killed run leaves of it is taken away by the next
  try {
    await writeFile(draft, text);
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
}
