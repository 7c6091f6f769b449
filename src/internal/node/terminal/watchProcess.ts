import type { EventEmitter } from 'node:events';
import process from 'node:process';

/** What is done when the process is on its way out of a terminal, and back. */
export interface ProcessWatcher {
  /** It ends. */
  onEnd(): void;
  /** It is put to sleep, as by Ctrl-Z. */
  onSleep(): void;
  /** It goes on, and others have written meanwhile. */
  onWake(): void;
}

/** What ends a process that does nothing about it. */
const ENDS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;

interface State {
  readonly watchers: Set<ProcessWatcher>;
  isAsleep: boolean;
  stopListening: (() => void) | undefined;
}

// Under a global symbol, so that two copies of the package in one process are one listener. The number is the layout's version.
const KEY = Symbol.for('millrace.process.1');
const shared = globalThis as { [KEY]?: State };
const state: State = (shared[KEY] ??= { watchers: new Set(), isAsleep: false, stopListening: undefined });

/**
 * Tells when the process ends, by itself, by `process.exit()`, by an error that nobody caught, or by a signal, and when it sleeps. A
 * signal that nobody else listens to is sent again, so that it does what it would have done; one that somebody else listens to is
 * theirs. Listens only while somebody watches.
 * @returns what ends the watching
 */
export function watchProcess(watcher: ProcessWatcher): () => void {
  state.watchers.add(watcher);
  state.stopListening ??= listen();
  return () => {
    state.watchers.delete(watcher);
    if (state.watchers.size === 0) stop();
  };
}

function stop(): void {
  state.stopListening?.();
  state.stopListening = undefined;
}

function each(tell: (watcher: ProcessWatcher) => void): void {
  for (const watcher of [...state.watchers]) tell(watcher);
}

function onExit(): void {
  const watchers = [...state.watchers];
  state.watchers.clear();
  for (const watcher of watchers) watcher.onEnd();
}

function listen(): () => void {
  const listeners: [event: string, listener: () => void][] = ENDS.map((signal) => [
    signal,
    (): void => {
      if (hasOthers(signal)) return;
      onExit();
      stop();
      process.kill(process.pid, signal);
    },
  ]);
  listeners.push(['SIGTSTP', onSleep], ['SIGCONT', onWake], ['exit', onExit]);
  const emitter: EventEmitter = process;
  // Before the others: of those that listen once each is counted before it has gone.
  for (const [event, listener] of listeners) emitter.prependListener(event, listener);
  return () => {
    for (const [event, listener] of listeners) emitter.off(event, listener);
  };
}

function onSleep(): void {
  if (hasOthers('SIGTSTP')) return;
  state.isAsleep = true;
  each((watcher) => {
    watcher.onSleep();
  });
  process.kill(process.pid, 'SIGSTOP'); // which nobody can listen to
}

function onWake(): void {
  if (!state.isAsleep) return;
  state.isAsleep = false;
  each((watcher) => {
    watcher.onWake();
  });
}

/** Whether somebody besides us listens. Not counted is signal-exit, below many programs: it waits for all others to go. */
function hasOthers(signal: NodeJS.Signals): boolean {
  const { __signal_exit_emitter__: third } = process as { __signal_exit_emitter__?: { readonly count?: number } };
  const fourth = (globalThis as Record<symbol, { readonly count?: number } | undefined>)[
    Symbol.for('signal-exit emitter')
  ];
  const knows = signal === 'SIGTSTP' ? 0 : (third?.count ?? 0) + (fourth?.count ?? 0);
  return process.listenerCount(signal) > 1 + knows;
}
