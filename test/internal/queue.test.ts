import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Queue } from '../../src/internal/queue.js';

describe('a queue', () => {
  it('gives what came first, and lets values in and out at any place', () => {
    const step = fc.oneof(
      fc.record({ what: fc.constant('add' as const), value: fc.nat(9) }),
      fc.record({ what: fc.constant('before' as const), value: fc.nat(9) }),
      fc.record({ what: fc.constant('leave' as const), value: fc.nat(20) }),
      fc.record({ what: fc.constant('shift' as const), value: fc.nat(0) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const queue = new Queue<{ readonly value: number }>();
        let model: { readonly value: number }[] = [];
        const leaves: { readonly item: object; readonly leave: () => void }[] = [];
        for (const { what, value } of steps) {
          const item = { value };
          if (what === 'add') {
            leaves.push({ item, leave: queue.add(item) });
            model.push(item);
          } else if (what === 'before') {
            const isBehind = (other: { readonly value: number }): boolean => other.value > value;
            leaves.push({ item, leave: queue.addBefore(item, isBehind) });
            const at = model.findIndex(isBehind);
            model.splice(at === -1 ? model.length : at, 0, item);
          } else if (what === 'leave') {
            const chosen = leaves[value];
            chosen?.leave();
            model = model.filter((each) => each !== chosen?.item);
          } else {
            expect(queue.shift()).toBe(model.shift());
          }
          expect(queue.size).toBe(model.length);
        }
        while (model.length > 0) expect(queue.shift()).toBe(model.shift());
        expect(queue.shift()).toBeUndefined();
      }),
    );
  });
});
