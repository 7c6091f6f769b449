import type { StreamPhase, StreamState } from 'millrace';
import { isBusy } from './words.js';

interface ProgressProps {
  readonly phase: StreamPhase;
  readonly progress: StreamState['progress'];
}

/** A bar, and in words what it shows. */
export function Progress({ phase, progress }: ProgressProps) {
  const { current = 0, total = 1, message = '' } = progress ?? {};
  const words = progress === undefined ? 'not begun' : `reach ${String(current)} of ${String(total)}: ${message}`;
  return (
    <div className="progress">
      <div
        role="progressbar"
        aria-label="Progress of the survey"
        aria-valuemin={0}
        aria-valuemax={total}
        aria-valuenow={current}
        aria-valuetext={words}
        data-busy={isBusy(phase)}
      >
        <span style={{ inlineSize: `${String((100 * current) / total)}%` }} />
      </div>
      <p aria-hidden="true">{words}</p>
    </div>
  );
}
