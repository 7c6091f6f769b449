import { asyncScheduler, Subscription } from 'rxjs';

/** So long is a frame waited for. A page that nobody sees draws none, and is to be told all the same. Chosen. */
const NO_FRAME_MS = 100;

/** Runs something once, before the next frame is drawn. @returns cancels it */
export function nextFrame(run: () => void): Subscription {
  const waiting = new Subscription();
  const runOnce = (): void => {
    waiting.unsubscribe();
    run();
  };
  waiting.add(asyncScheduler.schedule(runOnce, NO_FRAME_MS));
  // Absent outside of pages, such as in a test.
  if (typeof requestAnimationFrame === 'function') {
    const frame = requestAnimationFrame(runOnce);
    waiting.add(() => {
      cancelAnimationFrame(frame);
    });
  }
  return waiting;
}
