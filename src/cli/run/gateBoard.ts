import type { SchedulerLike } from 'rxjs';
import type { GateNote } from './runView.js';

/** How the gates of a run stand. */
export class GateBoard {
  readonly #scheduler: SchedulerLike;
  readonly #gates: Map<string, { readonly note: GateNote; readonly opensAt: number }> = new Map();

  constructor(scheduler: SchedulerLike) {
    this.#scheduler = scheduler;
  }

  /** @returns whether it says that the gate has closed, which was open or was going to open by now */
  take(note: GateNote): boolean {
    const now = this.#scheduler.now();
    const before = this.#gates.get(note.name)?.opensAt ?? 0;
    this.#gates.set(note.name, { note, opensAt: now + note.closedForMs });
    return note.closedForMs > 0 && before <= now;
  }

  /** The gates that hold somebody up now; those that open last come first, then those that let the fewest through. */
  limiting(): readonly GateNote[] {
    const now = this.#scheduler.now();
    const notes: GateNote[] = [];
    for (const { note, opensAt } of this.#gates.values()) {
      const closedForMs = Math.max(0, opensAt - now);
      const isNarrow = Number.isFinite(note.limit) && note.limit < (note.most ?? Infinity);
      if (closedForMs > 0 || isNarrow) notes.push({ ...note, closedForMs });
    }
    return notes.sort((a, b) => b.closedForMs - a.closedForMs || a.limit - b.limit);
  }
}

/** A gate in words. */
export function gateWords({ limit, most, closedForMs }: GateNote): string {
  const passes = Number.isFinite(limit)
    ? `${String(limit)}${most === undefined ? '' : ` of ${String(most)}`} at once`
    : '';
  const closed = closedForMs > 0 ? `closed for ${String(Math.ceil(closedForMs / 1000))} s` : '';
  return [closed, passes].filter((words) => words !== '').join(', ');
}
