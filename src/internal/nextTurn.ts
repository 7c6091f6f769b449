/** So often may something that is ready be taken before others have a turn. */
export const TAKES_PER_TURN = 16;

/**
 * Resolves in another turn of the event loop, so that timers, input and other streams have theirs: a source that always has
 * something ready would keep them waiting for ever. Not by a timer, which a page in the background gets once a minute.
 */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = (): void => {
      port1.close();
      resolve();
    };
    port2.postMessage(undefined);
  });
}
