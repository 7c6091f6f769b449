import { open, rename, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { type JobReceipt, SinkError } from '../../index.js';
import { fileReason } from '../../internal/fileReason.js';
import { failedJobs } from './failedJobs.js';
import type { FileJob } from './fileJob.js';
import { reportPage } from './reportPage.js';
import type { RunReport } from './runReport.js';

/** How a report is written. */
export interface ReportOptions {
  readonly fsync: boolean;
  /** Whether other machines may write into the folder, so that the number of a process tells nobody apart. */
  readonly isShared?: boolean | undefined;
}

/**
 * Writes `report.json`, `report.html` and, where jobs have failed, `failed.jsonl`; each has its name when it is whole.
 * @throws SinkError where the disk does not take them
 */
export async function writeReport(
  folder: string,
  report: RunReport,
  jobs: readonly FileJob[],
  receipts: readonly JobReceipt<FileJob>[],
  options: ReportOptions,
): Promise<void> {
  await write(folder, 'report.json', `${JSON.stringify(report, null, 2)}\n`, options);
  await write(folder, 'report.html', reportPage(report), options);
  await write(folder, 'failed.jsonl', failedJobs(jobs, receipts), options);
}

async function write(folder: string, name: string, text: string, { fsync, isShared }: ReportOptions): Promise<void> {
  const path = join(folder, name);
  // Beside it, since `.millrace` may be a link to another disk; what a killed run leaves of it is taken away by the next.
  const owner = `${isShared === true ? `at-${hostname()}-` : ''}${String(process.pid)}`;
  const draft = join(folder, `.millrace-${owner}-${name}`);
  try {
    if (text === '') {
      await rm(path, { force: true }); // an earlier run's
      return;
    }
    await writeDraft(draft, text, fsync);
    await rename(draft, path);
  } catch (cause) {
    await rm(draft, { force: true });
    const { code, message } = cause as NodeJS.ErrnoException;
    throw new SinkError(`${path} could not be written: ${fileReason(code) ?? message}`, {
      context: { path, code },
      cause,
    });
  }
}

async function writeDraft(draft: string, text: string, fsync: boolean): Promise<void> {
  const file = await open(draft, 'w');
  try {
    await file.writeFile(text);
    if (fsync) await file.sync(); // or a loss of power may leave the name, and nothing in it
  } finally {
    await file.close();
  }
}
