import { createHash } from 'node:crypto';
import type { FileJob } from './fileJob.js';

/**
 * The name of a job in a journal: its place, and a hash of all that decides what is asked and how the answer is written. An edited job is another
 * job; its id, its line, its key's variable and the order in which fields are written make no difference.
 */
export function jobKey({ out, options, asks, format }: Pick<FileJob, 'out' | 'options' | 'asks' | 'format'>): string {
  const asked = canonical({ options, asks, format });
  return `${out}#${createHash('sha256').update(asked).digest('hex').slice(0, 16)}`;
}

/** JSON with the members of each object in one order. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonical(item ?? null)).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`);
  return `{${members.join(',')}}`;
}
