import { UsageError } from '../exitCodes.js';

/** How many are told. */
const MAX_TOLD = 20;

/** A job file cannot be run. `message` has a problem a line; none quotes a prompt or a key. */
export class JobFileError extends UsageError {
  /** Each with file and line: `jobs.jsonl:12: provider: is missing`. */
  readonly problems: readonly string[];

  constructor(problems: readonly string[], more = 0) {
    super([...problems, ...(more > 0 ? [`and ${String(more)} more`] : [])].join('\n'));
    this.problems = problems;
  }
}

/** Gathers what is wrong with a file: the first 20, by line, and how many more. */
export class JobProblems {
  readonly #name: string;
  readonly #told: { readonly line: number; readonly text: string }[] = [];
  #count = 0;

  constructor(name: string) {
    this.#name = name;
  }

  /** How many there are. */
  get count(): number {
    return this.#count;
  }

  /** @param line - in the file, from 1 */
  add(line: number, problem: string): void {
    this.#count += 1;
    if (this.#told.length < MAX_TOLD) this.#told.push({ line, text: `${this.#name}:${String(line)}: ${problem}` });
  }

  /** @throws JobFileError where there is any */
  throwAny(): void {
    if (this.#count === 0) return;
    const told = this.#told.sort((a, b) => a.line - b.line).map(({ text }) => text);
    throw new JobFileError(told, this.#count - told.length);
  }
}
