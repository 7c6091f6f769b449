import * as React from 'react';
import { createRoot, hydrateRoot } from 'react-dom/client';
import { renderToString } from 'react-dom/server.browser';
import { type Call, decode, fromCall, fromHTTP, parseSSE, type StreamEvent, toTokens } from 'millrace';
import { chatDialect, openaiCompatible } from 'millrace/providers';
import { type StartWhen, useStream } from 'millrace/react';
import type { Observable } from 'rxjs';

const { StrictMode, useEffect, useState } = React;
/** Hides a part of a page and keeps its state; React 18 has no such thing. */
const Activity: typeof React.Activity | undefined = React.Activity;

/** The page of `useStream`'s tests: it asks its own server, and shows all that it is told. */

declare global {
  interface Window {
    readonly harness: Harness;
  }
}

/** What tests do with the page. */
interface Harness {
  /** Shows a component; one of another kind takes the place of the one before. */
  show(
    kind: Kind,
    props?: { readonly strict?: boolean; readonly startWhen?: StartWhen; readonly hidden?: boolean },
  ): void;
  /** Shows nothing. */
  clear(): void;
  /** What was rendered, the newest last: phase and text. */
  readonly renders: string[];
  /** Those of the component that was rendered last, also when it has gone. */
  start(question: string): void;
  stop(): void;
  /** The page as a server renders it. */
  renderOnServer(): string;
}

type Kind = 'events' | 'text' | 'call' | 'healing' | 'effect' | 'throwing' | 'nothing';

const api = openaiCompatible({
  name: 'own',
  baseURL: `${location.origin}/v1`,
  apiKey: 'any',
  dangerouslyAllowBrowser: true,
});

function events(question = 'default'): Observable<StreamEvent> {
  return fromHTTP(`${location.origin}/answer?${question}`).pipe(parseSSE(), decode(chatDialect()));
}

function call(question = 'default'): Call {
  return api.chat({ model: 'm', messages: [{ role: 'user', content: question }] });
}

const FACTORIES: Readonly<Record<Kind, (question?: string) => Observable<StreamEvent | string> | Call>> = {
  events,
  effect: events,
  text: (question) => events(question).pipe(toTokens()),
  call,
  healing: (question) => fromCall(call(question), { retry: { count: 3, delay: { initialMs: 300 } } }),
  throwing: () => {
    throw new RangeError('of the factory');
  },
  nothing: () => undefined as unknown as Call,
};

const renders: string[] = [];
const controls = { start: (_: string): void => undefined, stop: (): void => undefined };

interface AnswerProps {
  readonly kind: Kind;
  readonly startWhen?: StartWhen;
}

function Answer({ kind, startWhen }: AnswerProps) {
  const stream = useStream(FACTORIES[kind], { startWhen });
  const { phase, text, error, billing, heartbeat, restarts, finish, start, stop, reset } = stream;
  renders.push(`${phase}:${text}`);
  Object.assign(controls, { start, stop });
  useEffect(() => {
    if (kind === 'effect') start('effect');
  }, [kind, start]);
  return (
    <section data-phase={phase} data-billing={billing} data-restarts={restarts} data-finish={finish?.reason}>
      <p id="text">{text}</p>
      <p id="error">{error instanceof Error ? `${error.name}: ${error.message}` : ''}</p>
      <p id="heartbeat">{heartbeat === undefined ? '' : `${heartbeat.comment} ${String(heartbeat.count)}`}</p>
      <button onClick={stop}>Stop</button>
      <button onClick={reset}>Reset</button>
    </section>
  );
}

/** Something beside it that changes on its own. */
function Counter() {
  const [count, setCount] = useState(0);
  return (
    <button
      onClick={() => {
        setCount(count + 1);
      }}
    >
      {`Clicked ${String(count)}`}
    </button>
  );
}

/** Runs the page; one that a server has rendered is taken over. */
export function runPage(): void {
  const container = document.getElementById('root')!;
  const served = <Answer kind="events" startWhen />;
  const root = container.hasChildNodes() ? hydrateRoot(container, served) : createRoot(container);
  const harness: Harness = {
    show: (kind, { strict = false, startWhen, hidden } = {}) => {
      const shown = (
        <>
          {Activity === undefined || hidden === undefined ? (
            <Answer key={kind} kind={kind} startWhen={startWhen} />
          ) : (
            <Activity mode={hidden ? 'hidden' : 'visible'}>
              <Answer key={kind} kind={kind} startWhen={startWhen} />
            </Activity>
          )}
          <Counter />
        </>
      );
      root.render(strict ? <StrictMode>{shown}</StrictMode> : shown);
    },
    clear: () => {
      root.render(null);
    },
    renders,
    start: (question) => {
      controls.start(question);
    },
    stop: () => {
      controls.stop();
    },
    renderOnServer: () => renderToString(served),
  };
  Object.assign(window, { harness });
}
