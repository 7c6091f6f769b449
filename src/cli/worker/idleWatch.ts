import { asyncScheduler, type SchedulerLike, type Subscription } from 'rxjs';

/** Notices that there was nothing to do for so long. */
export class IdleWatch {
  readonly #afterMs: number;
  readonly #onIdle: () => void;
  readonly #scheduler: SchedulerLike;
  readonly #running: Set<string> = new Set();
  #timer: Subscription | undefined;

  /** @param afterMs - 0 for never */
  constructor(afterMs: number, onIdle: () => void, scheduler: SchedulerLike = asyncScheduler) {
    this.#afterMs = afterMs;
    this.#onIdle = onIdle;
    this.#scheduler = scheduler;
    this.#wait();
  }

  begin(name: string): void {
    this.#running.add(name);
    this.#timer?.unsubscribe();
  }

  /** Something has ended; a job that was finished before was never begun. */
  end(name: string): void {
    this.#running.delete(name);
    this.#wait();
  }

  close(): void {
    this.#timer?.unsubscribe();
  }

  #wait(): void {
    this.#timer?.unsubscribe();
    if (this.#afterMs === 0 || this.#running.size > 0) return;
    this.#timer = this.#scheduler.schedule(this.#onIdle, this.#afterMs);
  }
}
