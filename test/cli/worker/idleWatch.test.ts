import { VirtualTimeScheduler } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { IdleWatch } from '../../../src/cli/worker/idleWatch.js';

/** A watch, and when it said that nothing was to do. */
function watch(afterMs: number): { at: (ms: number, step: (idle: IdleWatch) => void) => void; said: () => number[] } {
  const scheduler = new VirtualTimeScheduler();
  const said: number[] = [];
  const idle = new IdleWatch(
    afterMs,
    () => {
      said.push(scheduler.now());
    },
    scheduler,
  );
  return {
    at: (ms, step) => {
      scheduler.schedule(() => {
        step(idle);
      }, ms);
    },
    said: () => {
      scheduler.flush();
      return said;
    },
  };
}

describe('an idle watch', () => {
  it('speaks when nothing came at all', () => {
    expect(watch(100).said()).toEqual([100]);
  });

  it('speaks so long after the last of what runs has ended', () => {
    const { at, said } = watch(100);
    at(99, (idle) => {
      idle.begin('a');
      idle.begin('b');
    });
    at(500, (idle) => {
      idle.end('a');
    });
    at(900, (idle) => {
      idle.end('b');
    });
    at(950, (idle) => {
      idle.end('finished before');
    });
    expect(said()).toEqual([1_050]);
  });

  it('is silent while something runs, when it is closed, and for 0', () => {
    const running = watch(100);
    running.at(50, (idle) => {
      idle.begin('a');
    });
    expect(running.said()).toEqual([]);
    const closed = watch(100);
    closed.at(50, (idle) => {
      idle.close();
    });
    expect(closed.said()).toEqual([]);
    expect(watch(0).said()).toEqual([]);
  });
});
