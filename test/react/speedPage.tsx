import { createRoot } from 'react-dom/client';
import { decode, fromHTTP, parseSSE } from 'millrace';
import { chatDialect } from 'millrace/providers';
import { useStream } from 'millrace/react';

/** A page that is sent a great many tokens, and measures itself meanwhile. */

declare global {
  interface Window {
    readonly measured: () => Measured;
  }
}

/** All in milliseconds. */
export interface Measured {
  readonly chars: number;
  readonly renders: number;
  readonly frames: number;
  /** Tasks of 50 ms and more: the browser reports no shorter ones. */
  readonly longTasks: readonly number[];
  /** Between two frames. */
  readonly medianGap: number;
  readonly longestGap: number;
  /** Between two turns of a timer that wants one after another: the longest that the page was busy in between. */
  readonly longestTurn: number;
}

let renders = 0;
const longTasks: number[] = [];
const gaps: number[] = [];
let longestTurn = 0;
let isMeasuring = true;

function Answer() {
  const { text, phase } = useStream(
    () => fromHTTP(`${location.origin}/answer`).pipe(parseSSE(), decode(chatDialect())),
    { startWhen: true },
  );
  renders += 1;
  if (phase === 'complete') isMeasuring = false;
  // As a chat lays it out: a paragraph is laid out anew when it changes, and no other.
  return (
    <section data-phase={phase} style={{ height: '20rem', overflow: 'auto' }}>
      {text.split('\n\n').map((paragraph, at) => (
        <p key={at}>{paragraph}</p>
      ))}
    </section>
  );
}

function measureFrames(before: number): void {
  requestAnimationFrame((now) => {
    if (!isMeasuring) return;
    gaps.push(now - before);
    measureFrames(now);
  });
}

function measureTurns(): void {
  const before = performance.now();
  setTimeout(() => {
    if (!isMeasuring) return;
    longestTurn = Math.max(longestTurn, performance.now() - before);
    measureTurns();
  });
}

/** Runs the page. */
export function runSpeedPage(): void {
  createRoot(document.getElementById('root')!).render(<Answer />);
  const begin = (): void => {
    new PerformanceObserver((list) => {
      if (isMeasuring) longTasks.push(...list.getEntries().map(({ duration }) => duration));
    }).observe({ type: 'longtask' });
    requestAnimationFrame(measureFrames);
    measureTurns();
  };
  // What loading the page takes is none of it.
  setTimeout(begin, 200);
  const measured = (): Measured => {
    const sorted = gaps.toSorted((a, b) => a - b);
    return {
      chars: document.querySelector('section')?.textContent.length ?? 0,
      renders,
      frames: gaps.length,
      longTasks,
      medianGap: sorted[Math.floor(sorted.length / 2)] ?? 0,
      longestGap: sorted.at(-1) ?? 0,
      longestTurn,
    };
  };
  Object.assign(window, { measured });
}
