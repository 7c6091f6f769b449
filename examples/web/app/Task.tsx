import { useStream } from 'millrace/react';
import { useEffect, useState } from 'react';
import type { PanelProps } from './App.js';
import { ask, type Trouble } from './ask.js';
import { Choice } from './Choice.js';
import { Facts } from './Facts.js';
import { Progress } from './Progress.js';
import { Prose } from './Prose.js';
import { Steps } from './Steps.js';
import { TaskLog } from './TaskLog.js';
import { useEscape } from './useEscape.js';
import { isBusy } from './words.js';

const TROUBLES = [
  { value: 'none', label: 'goes well' },
  { value: 'fail', label: 'fails half way' },
] as const;

/** A task with states, progress and a log, and a report at its end. */
export function Task({ isShown, onBusy }: PanelProps) {
  const [trouble, setTrouble] = useState<Trouble>('none');
  const stream = useStream((wanted: Trouble) => ask('/api/survey', { trouble: wanted }));
  const { phase, status, progress, logs, text, start, stop } = stream;
  const isRunning = isBusy(phase);
  useEffect(() => {
    onBusy(isRunning);
  }, [onBusy, isRunning]);
  useEscape(isShown && isRunning, stop);

  return (
    <div className="task">
      <section className="sheet" aria-labelledby="task-title" tabIndex={-1}>
        <h2 id="task-title">Survey the race</h2>
        <p className="lead">
          From the weir to the wheel in twelve reaches: levels, silt, banks and boards. It runs as a task, which has
          states, says how far it is, and keeps a log.
        </p>
        <div className="row">
          <button
            type="button"
            className="main-button"
            data-stops={isRunning}
            onClick={() => {
              if (isRunning) stop();
              else start(trouble);
            }}
          >
            {isRunning ? 'Stop the survey' : 'Start the survey'}
          </button>
          <Choice legend="The survey" options={TROUBLES} value={trouble} onChange={setTrouble} />
        </div>
        <Steps phase={phase} status={status} />
        <Progress phase={phase} progress={progress} />
        <Facts
          state={stream}
          onRetry={() => {
            start('none');
          }}
        />
      </section>
      <TaskLog logs={logs} isRunning={isRunning} />
      <section
        className="sheet report"
        aria-labelledby="report-title"
        aria-live="polite"
        aria-busy={isRunning}
        data-phase={phase}
      >
        <h2 id="report-title">The surveyor’s report</h2>
        {text === '' ? <p className="empty">comes at the end of the walk</p> : <Prose text={text} />}
      </section>
    </div>
  );
}
