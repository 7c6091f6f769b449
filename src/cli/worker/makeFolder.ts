import { mkdir } from 'node:fs/promises';
import { fileReason } from '../../internal/fileReason.js';
import { UsageError } from '../exitCodes.js';

/** @throws UsageError where it is not there and cannot be made */
export async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException; // the file system's own
    const why = code === 'EEXIST' ? 'a file has its name' : (fileReason(code) ?? message);
    throw new UsageError(`${folder} cannot be made: ${why}`);
  }
}
