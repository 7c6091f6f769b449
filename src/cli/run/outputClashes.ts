/** A job's place for its answer. */
export interface Placed {
  /** Its number in the file, from 1. */
  readonly number: number;
  readonly line: number;
  readonly out: string;
}

/** Two jobs, or a job and the run, want one name. */
export interface Clash<Job extends Placed> {
  readonly job: Job;
  /** The earlier one; `'run'` for a name of the run's own. */
  readonly with: Job | 'run';
  readonly what: 'same' | 'folded' | 'folder' | 'partial';
}

/** What a run itself writes beside the answers. */
const RUN_NAMES = ['report.json', 'report.html', 'failed.jsonl'];

/**
 * Finds the jobs whose files would meet on any file system: names that differ only in case or in how their characters are composed, a file where another
 * needs a folder, names that a file has while it is written, and the run's own.
 */
export function outputClashes<Job extends Placed>(jobs: readonly Job[]): readonly Clash<Job>[] {
  const taken = new Map<string, Job | 'run'>(RUN_NAMES.map((name) => [name, 'run']));
  const clashes: Clash<Job>[] = [];
  const clashing = new Set<Job>();
  const clash = (job: Job, other: Job | 'run', what: Clash<Job>['what']): void => {
    if (clashing.has(job)) return;
    clashing.add(job);
    clashes.push({ job, with: other, what });
  };
  const folded = jobs.map((job) => ({ job, path: fold(job.out) }));
  for (const { job, path } of folded) {
    const other = taken.get(path);
    if (other === undefined) taken.set(path, job);
    else clash(job, other, other !== 'run' && other.out === job.out ? 'same' : 'folded');
    // The journal's folder, and names that files have for a moment, in any folder.
    if (path.split('/').some((name) => name.startsWith('.millrace'))) clash(job, 'run', 'same');
  }
  for (const { job, path } of folded) {
    for (const [at, isWhole] of endsOfNames(path)) {
      const part = path.slice(0, at);
      const file = isWhole ? undefined : taken.get(part);
      if (file !== undefined) clash(...later(job, file), 'folder');
      for (const { index } of part.slice(part.lastIndexOf('/') + 1).matchAll(/\.partial(?=\.|$)/g)) {
        const owner = taken.get(part.slice(0, part.lastIndexOf('/') + 1 + index));
        if (owner !== undefined && owner !== job) clash(...later(job, owner), 'partial');
      }
    }
  }
  return clashes;
}

/** It is told of the one that stands later in the file. */
function later<Job extends Placed>(job: Job, other: Job | 'run'): [Job, Job | 'run'] {
  return other !== 'run' && other.number > job.number ? [other, job] : [job, other];
}

/** Where each name of a path ends, and whether that is the whole path. */
function endsOfNames(path: string): readonly (readonly [at: number, isWhole: boolean])[] {
  const slashes = [...path.matchAll(/\//g)].map(({ index }) => [index, false] as const);
  return [...slashes, [path.length, true]];
}

/** One form of all names that some file system takes for the same. */
function fold(path: string): string {
  // Upper case first: it makes one of `ß` and `ss`, and of `ſ` and `s`.
  return path
    .normalize('NFD')
    .replace(/\p{Default_Ignorable_Code_Point}/gu, '')
    .toUpperCase()
    .toLowerCase()
    .normalize('NFD');
}
