import { type ReactNode, useCallback, useState } from 'react';
import { Chat } from './Chat.js';
import { Tabs } from './Tabs.js';
import { Task } from './Task.js';
import { ThemeToggle } from './ThemeToggle.js';
import { Voices } from './Voices.js';
import { Wheel } from './Wheel.js';

const PANELS = [
  { id: 'chat', label: 'Chat', Panel: Chat },
  { id: 'task', label: 'Task', Panel: Task },
  { id: 'voices', label: 'Three voices', Panel: Voices },
] as const;

type PanelId = (typeof PANELS)[number]['id'];

/** What every panel is given. */
export interface PanelProps {
  readonly isShown: boolean;
  /** Tells whether a stream of the panel is on its way. Always the same function. */
  readonly onBusy: (isBusy: boolean) => void;
}

export function App() {
  const [shown, setShown] = useState<PanelId>('chat');
  const [busy, setBusy] = useState<ReadonlySet<PanelId>>(new Set());
  const note = useCallback((id: PanelId, isBusy: boolean) => {
    setBusy((before) => new Set([...before, id].filter((each) => each !== id || isBusy)));
  }, []);
  return (
    <div className="app">
      <header className="top">
        <Wheel isTurning={busy.size > 0} />
        <div className="title">
          <h1>The Millhouse</h1>
          <p>an example of millrace</p>
        </div>
        <Tabs tabs={PANELS} shown={shown} busy={busy} onShow={setShown} />
        <ThemeToggle />
      </header>
      <main>
        {PANELS.map(({ id, Panel }) => (
          <div
            key={id}
            id={`panel-${id}`}
            className={`panel panel-${id}`}
            role="tabpanel"
            aria-labelledby={`tab-${id}`}
            // The others stay, and so do their streams: whoever comes back finds what came meanwhile.
            hidden={id !== shown}
          >
            <Reporting id={id} Panel={Panel} isShown={id === shown} onBusy={note} />
          </div>
        ))}
      </main>
    </div>
  );
}

interface ReportingProps {
  readonly id: PanelId;
  readonly Panel: (props: PanelProps) => ReactNode;
  readonly isShown: boolean;
  readonly onBusy: (id: PanelId, isBusy: boolean) => void;
}

function Reporting({ id, Panel, isShown, onBusy }: ReportingProps) {
  const report = useCallback(
    (isBusy: boolean) => {
      onBusy(id, isBusy);
    },
    [id, onBusy],
  );
  return <Panel isShown={isShown} onBusy={report} />;
}
