/** What has ended a command, as a person knows it. */
export function stopName({ reason }: AbortSignal): string {
  return typeof reason === 'string' && reason !== 'SIGINT' ? reason : 'Ctrl-C';
}

export function onceAborted(signal: AbortSignal, listener: () => void): void {
  if (signal.aborted) listener();
  else signal.addEventListener('abort', listener, { once: true });
}
