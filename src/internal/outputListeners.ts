import type { TextOutput } from './io.js';

/** What a sink wants to hear of its output. */
export interface OutputListener {
  onDrain(): void;
  onClose(): void;
  onError(error: Error): void;
}

/** Listeners of one output, behind one listener for each of its events. */
interface Hub {
  readonly listeners: Set<OutputListener>;
  readonly drain: () => void;
  readonly close: () => void;
  readonly error: (error: Error) => void;
}

const hubs = new WeakMap<TextOutput, Hub>();

/**
 * Listens to an output on behalf of any number of sinks: Node warns when an emitter has more than ten listeners of a kind.
 * @returns what ends the listening
 */
export function listenToOutput(output: TextOutput, listener: OutputListener): () => void {
  const hub = hubs.get(output) ?? connect(output);
  hub.listeners.add(listener);
  return () => {
    if (!hub.listeners.delete(listener) || hub.listeners.size > 0) return;
    hubs.delete(output);
    output.off('drain', hub.drain);
    output.off('close', hub.close);
    output.off('error', hub.error);
  };
}

function connect(output: TextOutput): Hub {
  const listeners = new Set<OutputListener>();
  // A copy: a sink that hears of its end stops listening.
  const each = (tell: (listener: OutputListener) => void): void => {
    [...listeners].forEach(tell);
  };
  const hub: Hub = {
    listeners,
    drain: () => {
      each((listener) => {
        listener.onDrain();
      });
    },
    close: () => {
      each((listener) => {
        listener.onClose();
      });
    },
    error: (error) => {
      each((listener) => {
        listener.onError(error);
      });
    },
  };
  hubs.set(output, hub);
  output.on('drain', hub.drain);
  output.on('close', hub.close);
  output.on('error', hub.error);
  return hub;
}
