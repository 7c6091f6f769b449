import type { JobProblems } from './jobProblems.js';

/** A value of a file, and where it stands. */
export interface Place {
  readonly line: number;
  readonly kind: 'object' | 'list' | 'nothing' | 'other';
  /** The parts of a list. */
  readonly items: () => readonly Place[];
  /** The parts of an object, also those whose name stands twice. */
  readonly members: () => readonly Member[];
  /** As plain data. Tells a problem and gives `undefined` where it is none. */
  readonly value: () => unknown;
}

export interface Member {
  readonly name: string;
  /** Where its name stands. */
  readonly line: number;
  readonly place: Place;
}

/** The fields of a job, or of defaults, as they stand in a file. */
export interface JobDraft {
  readonly line: number;
  readonly fields: Readonly<Record<string, unknown>>;
  /** Where a field stands; where the job begins, for one that it has not. */
  readonly lineOf: (field: string) => number;
}

/** What a file holds. */
export interface JobDrafts {
  readonly defaults: JobDraft | undefined;
  readonly jobs: readonly JobDraft[];
}

/** A name of the file's own, as a message may show it: it may be anything. */
export function shownName(name: string): string {
  return /^[\w.$@ -]{1,40}$/.test(name) ? name : `(a field whose name has ${String(name.length)} characters)`;
}

/** Gathers drafts from the documents of a file: lists of jobs, objects with `jobs` or `defaults`, and jobs. */
export class DraftReader {
  readonly #problems: JobProblems;
  readonly #jobs: JobDraft[] = [];
  #defaults: JobDraft | undefined;
  #isFirst = true;

  constructor(problems: JobProblems) {
    this.#problems = problems;
  }

  get drafts(): JobDrafts {
    return { defaults: this.#defaults, jobs: this.#jobs };
  }

  /** @param takes - `'jobs'` where a document is one job or the defaults, as in JSON Lines */
  add(document: Place, takes: 'jobs' | 'all'): void {
    if (document.kind === 'nothing' && takes === 'all') return;
    const isFirst = this.#isFirst;
    this.#isFirst = false;
    const members = document.kind === 'object' ? document.members() : [];
    if (members.some(({ name }) => name === 'jobs' || name === 'defaults')) this.#addFile(members, takes, isFirst);
    else if (document.kind === 'list' && takes === 'all') for (const job of document.items()) this.#addJob(job);
    else
      this.#addJob(
        document,
        takes === 'all' ? 'must hold a list of jobs, or an object with jobs and defaults' : undefined,
      );
  }

  #addFile(members: readonly Member[], takes: 'jobs' | 'all', isFirst: boolean): void {
    for (const { name, line, place } of members) {
      if (name === 'defaults') this.#addDefaults(line, place, isFirst);
      else if (name === 'jobs' && takes === 'all') this.#addJobs(line, place);
      else if (name === 'jobs')
        this.#problems.add(line, 'jobs: in JSON Lines each line is a job; a file with a list of them is JSON');
      else this.#problems.add(line, `${shownName(name)}: stands beside jobs and defaults, where no other field may`);
    }
  }

  #addJobs(line: number, place: Place): void {
    if (place.kind !== 'list') this.#problems.add(line, 'jobs: must be a list');
    else for (const job of place.items()) this.#addJob(job);
  }

  #addDefaults(line: number, place: Place, isFirst: boolean): void {
    if (!isFirst || this.#defaults !== undefined) {
      this.#problems.add(line, 'defaults: stand at the top of the file, and once');
    } else if (place.kind !== 'object') this.#problems.add(line, 'defaults: must be an object');
    else this.#defaults = this.#draftOf(place);
  }

  #addJob(place: Place, problem = 'a job must be an object'): void {
    if (place.kind !== 'object') {
      this.#problems.add(place.line, problem);
      return;
    }
    const draft = this.#draftOf(place);
    if (draft !== undefined) this.#jobs.push(draft);
  }

  #draftOf(place: Place): JobDraft | undefined {
    const before = this.#problems.count;
    const seen = new Set<string>();
    for (const { name, line } of place.members()) {
      if (seen.has(name)) this.#problems.add(line, `${shownName(name)}: stands there twice`);
      seen.add(name);
    }
    const fields = place.value() as JobDraft['fields']; // it is an object
    if (this.#problems.count > before) return undefined;
    return {
      line: place.line,
      fields,
      lineOf: (field) => place.members().find(({ name }) => name === field)?.line ?? place.line,
    };
  }
}
