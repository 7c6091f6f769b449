interface Hub {
  readonly listeners: Set<() => void>;
  readonly tell: () => void;
}

const hubs = new WeakMap<AbortSignal, Hub>();

/**
 * Calls `listener` once when the signal is aborted. One listener on the signal serves any number of streams: Node warns of
 * more than ten.
 * @returns what takes the listener back
 */
export function onAbort(signal: AbortSignal, listener: () => void): () => void {
  const { listeners, tell } = hubs.get(signal) ?? connect(signal);
  // A function of its own, since one listener may be given twice.
  const own = (): void => {
    listener();
  };
  listeners.add(own);
  return () => {
    if (!listeners.delete(own) || listeners.size > 0) return;
    hubs.delete(signal);
    signal.removeEventListener('abort', tell);
  };
}

function connect(signal: AbortSignal): Hub {
  const listeners = new Set<() => void>();
  const tell = (): void => {
    hubs.delete(signal);
    // A stream that hears of it may take others' listeners back.
    for (const listener of [...listeners]) if (listeners.delete(listener)) listener();
  };
  const hub = { listeners, tell };
  hubs.set(signal, hub);
  signal.addEventListener('abort', tell, { once: true });
  return hub;
}
