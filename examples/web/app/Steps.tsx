import type { StreamPhase } from 'millrace';
import { useState } from 'react';
import { isBusy } from './words.js';

/** The states of a task, in their order, and what they are called here. */
const STEPS = [
  ['queued', 'Queue'],
  ['preparing', 'Tools'],
  ['running', 'Walk'],
  ['uploading', 'Filing'],
  ['completed', 'Done'],
] as const;

interface StepsProps {
  readonly phase: StreamPhase;
  readonly status: string | undefined;
}

/** How far a task is, as a row of steps. A state that is no step, such as `failed`, leaves it where it was. */
export function Steps({ phase, status }: StepsProps) {
  const [reached, setReached] = useState(-1);
  const at = STEPS.findIndex(([name]) => name === status);
  const now = at === -1 && status !== undefined ? reached : at;
  if (now !== reached) setReached(now);
  const isOver = !isBusy(phase) && phase !== 'idle';
  return (
    <ol className="steps" aria-label="States of the task">
      {STEPS.map(([name, label], index) => {
        const isNow = index === now && phase !== 'complete';
        const state = isNow ? (isOver ? 'broken' : 'now') : index <= now ? 'done' : 'ahead';
        return (
          <li key={name} data-state={state} aria-current={isNow ? 'step' : undefined}>
            {label}
            <span className="visually-hidden"> ({SPOKEN[state]})</span>
          </li>
        );
      })}
    </ol>
  );
}

const SPOKEN = { now: 'now', done: 'done', ahead: 'to come', broken: 'ended here' } as const;
