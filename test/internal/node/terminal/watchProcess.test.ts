import process from 'node:process';
import { afterEach, beforeEach, describe, expect, it, type MockInstance, vi } from 'vitest';
import { watchProcess } from '../../../../src/internal/node/terminal/watchProcess.js';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGTSTP', 'SIGCONT'] as const;
const SIGNAL_EXIT = Symbol.for('signal-exit emitter');

const listeners = (): number[] => [...SIGNALS, 'exit'].map((event) => process.listenerCount(event));

let kill: MockInstance;
/** What is called by the names of the watcher's methods. */
let heard: string[];
let stops: (() => void)[];

const watch = (name = ''): (() => void) => {
  const hear = (what: string) => (): void => void heard.push(name + what);
  const stop = watchProcess({ onEnd: hear('end'), onSleep: hear('sleep'), onWake: hear('wake') });
  stops.push(stop);
  return stop;
};

/** A signal comes, to our listener alone; what others there are is what the test says. */
const signal = (which: NodeJS.Signals, others = 0): void => {
  vi.spyOn(process, 'listenerCount').mockReturnValue(1 + others);
  const [ours] = process.listeners(which);
  ours?.(which);
  vi.mocked(process.listenerCount).mockRestore();
};

beforeEach(() => {
  heard = [];
  stops = [];
  kill = vi.spyOn(process, 'kill').mockReturnValue(true);
});
afterEach(() => {
  for (const stop of stops) stop();
  kill.mockRestore();
  Reflect.deleteProperty(globalThis, SIGNAL_EXIT);
  Reflect.deleteProperty(process, '__signal_exit_emitter__');
});

describe('watchProcess', () => {
  it('listens once for all, and no longer than there is somebody who watches', () => {
    const before = listeners();
    const [one, two] = [watch(), watch()];
    expect(listeners()).toEqual(before.map((count) => count + 1));
    one();
    expect(listeners()).toEqual(before.map((count) => count + 1));
    two();
    expect(listeners()).toEqual(before);
  });

  it.each(['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const)(
    'tells all of %s, once, and sends it again when nobody else listens',
    (which) => {
      const before = listeners();
      watch('a ');
      watch('b ');
      signal(which);
      expect(heard).toEqual(['a end', 'b end']);
      expect(kill.mock.calls).toEqual([[process.pid, which]]);
      expect(listeners()).toEqual(before);
    },
  );

  it('leaves a signal to somebody else who listens', () => {
    watch();
    signal('SIGINT', 1);
    signal('SIGTSTP', 1);
    expect(heard).toEqual([]);
    expect(kill).not.toHaveBeenCalled();
  });

  it.each(['third', 'fourth'])('does not take the %s signal-exit for somebody else: it waits for us', (version) => {
    if (version === 'third') Object.assign(process, { __signal_exit_emitter__: { count: 1 } });
    else Object.assign(globalThis, { [SIGNAL_EXIT]: { count: 1 } });
    watch();
    signal('SIGINT', 2);
    expect(heard).toEqual([]);
    signal('SIGINT', 1);
    expect(heard).toEqual(['end']);
  });

  it('is asked before those that listen once have gone', () => {
    const once = vi.fn();
    process.once('SIGINT', once);
    watch();
    process.emit('SIGINT');
    expect(once).toHaveBeenCalledOnce();
    expect(heard).toEqual([]);
    expect(kill).not.toHaveBeenCalled();
  });

  it('tells of the end of the process by itself', () => {
    watch();
    const ours = process.listeners('exit').at(-1);
    ours?.(0);
    ours?.(0);
    expect(heard).toEqual(['end']);
  });

  it('tells of a sleep, and of waking after it only', () => {
    watch();
    signal('SIGCONT');
    signal('SIGTSTP');
    expect(kill.mock.calls).toEqual([[process.pid, 'SIGSTOP']]);
    signal('SIGCONT');
    signal('SIGCONT');
    expect(heard).toEqual(['sleep', 'wake']);
  });
});
