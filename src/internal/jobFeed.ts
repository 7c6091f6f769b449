import { isObservable, type Observable, type Subscriber } from 'rxjs';
import { LimitError } from '../errors.js';
import { Scope } from './flow.js';
import { draw } from './operate.js';
import { Queue } from './queue.js';

interface Given<Job> {
  readonly job: Job;
}

/** Gives jobs one at a time, when they are asked for. */
export interface JobFeed<Job> {
  /** The next job; `undefined` when there are no more. Rejects with the input's error. Asked again only after it was answered. */
  next(): Promise<Given<Job> | undefined>;
  /** Nothing more is asked for. */
  leave(): void;
  /** How the input failed, though nobody has asked since. */
  readonly failure?: { readonly error: unknown } | undefined;
}

/** @param subscriber - what an observable is stopped with; an iterable is left by `leave` alone */
export function feedOf<Job>(
  jobs: Iterable<Job> | AsyncIterable<Job> | Observable<Job>,
  subscriber: Subscriber<never>,
  maxWaiting: number,
): JobFeed<Job> {
  if (isObservable(jobs)) return new ObservedFeed(jobs, subscriber, maxWaiting);
  return new PulledFeed(Symbol.asyncIterator in jobs ? jobs[Symbol.asyncIterator]() : jobs[Symbol.iterator]());
}

class PulledFeed<Job> implements JobFeed<Job> {
  readonly #iterator: Iterator<Job> | AsyncIterator<Job>;
  #isInside = false;
  #isLeft = false;
  #isOver = false;
  #failure: { readonly error: unknown } | undefined;

  constructor(iterator: Iterator<Job> | AsyncIterator<Job>) {
    this.#iterator = iterator;
  }

  async next(): Promise<Given<Job> | undefined> {
    try {
      const result = await this.#step();
      if (result.done !== true) return { job: result.value };
    } catch (error) {
      this.#isOver = true;
      throw error;
    }
    this.#isOver = true;
    return undefined;
  }

  leave(): void {
    if (this.#isLeft) return;
    this.#isLeft = true;
    if (!this.#isInside) this.#return();
  }

  get failure(): { readonly error: unknown } | undefined {
    return this.#failure;
  }

  #step(): IteratorResult<Job> | Promise<IteratorResult<Job>> {
    this.#isInside = true;
    try {
      return this.#iterator.next();
    } finally {
      this.#isInside = false;
      if (this.#isLeft) this.#return(); // by itself: a generator that runs cannot be ended
    }
  }

  /** Lets it close what it has open. It may never answer, so nobody waits; how it fails is told where that is known in time. */
  #return(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const onFailure = (error: unknown): void => {
      this.#failure = { error };
    };
    try {
      Promise.resolve(this.#iterator.return?.()).catch(onFailure);
    } catch (error) {
      onFailure(error);
    }
  }
}

/** An observable gives when it likes: what comes too early waits, and the flows that bring it are paused where they can be. */
class ObservedFeed<Job> implements JobFeed<Job> {
  readonly #waiting: Queue<Given<Job>> = new Queue();
  readonly #scope: Scope = new Scope(false);
  #asked: ((given: Given<Job> | undefined) => void) | undefined;
  #refuse: (error: unknown) => void = () => undefined;
  #end: { readonly error: unknown } | 'complete' | undefined;
  #leave: () => void = () => undefined;

  constructor(jobs: Observable<Job>, subscriber: Subscriber<never>, maxWaiting: number) {
    draw<Job>(jobs, subscriber, this.#scope, (upstream) => {
      this.#leave = () => {
        upstream.unsubscribe();
      };
      return {
        next: (job) => {
          if (this.#asked !== undefined) {
            this.#give({ job });
            return;
          }
          if (this.#waiting.size >= maxWaiting) {
            const message = `More than ${String(maxWaiting)} jobs wait for their turn in runJobs; an iterable is only read as far as its jobs are begun`;
            upstream.unsubscribe();
            this.#fail(new LimitError('maxWaiting', maxWaiting, message));
            return;
          }
          this.#waiting.add({ job });
          this.#scope.pause();
        },
        error: (error) => {
          this.#fail(error);
        },
        complete: () => {
          this.#end = 'complete';
          this.#give(undefined);
        },
      };
    });
  }

  async next(): Promise<Given<Job> | undefined> {
    const given = this.#waiting.shift();
    if (given !== undefined) {
      if (this.#waiting.size === 0) this.#scope.release();
      return given;
    }
    if (this.#end === 'complete') return undefined;
    if (this.#end !== undefined) throw this.#end.error;
    return new Promise((resolve, reject) => {
      this.#asked = resolve;
      this.#refuse = reject;
    });
  }

  get failure(): { readonly error: unknown } | undefined {
    return this.#end === 'complete' ? undefined : this.#end;
  }

  leave(): void {
    this.#scope.release();
    this.#leave();
  }

  #give(given: Given<Job> | undefined): void {
    const asked = this.#asked;
    this.#asked = undefined;
    asked?.(given);
  }

  #fail(error: unknown): void {
    this.#end = { error };
    if (this.#asked !== undefined) this.#refuse(error);
    this.#asked = undefined;
  }
}
