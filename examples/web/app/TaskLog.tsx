import type { LogEvent } from 'millrace';
import { useScrollEnd } from './useScrollEnd.js';

interface TaskLogProps {
  readonly logs: readonly LogEvent[];
  readonly isRunning: boolean;
}

/** What a task writes while it works. */
export function TaskLog({ logs, isRunning }: TaskLogProps) {
  const scroller = useScrollEnd<HTMLDivElement>(logs);
  return (
    <section className="sheet log-sheet" aria-labelledby="log-title">
      <h2 id="log-title">Log</h2>
      <div className="lines" ref={scroller} role="log" aria-labelledby="log-title" tabIndex={0}>
        {logs.length === 0 && <p className="empty">{isRunning ? 'nothing yet' : 'empty, until the survey starts'}</p>}
        {logs.map(({ id, message }, index) => (
          <p key={id ?? index}>{message}</p>
        ))}
      </div>
    </section>
  );
}
