import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RecentMap } from '../../src/protocol/recentMap.js';

describe('RecentMap', () => {
  it('knows the newest entries, and never an old value', () => {
    const step = fc.record({ key: fc.nat(12), isGet: fc.boolean() });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5 }), fc.array(step, { maxLength: 60 }), (max, steps) => {
        const map: RecentMap<number, number> = new RecentMap(max);
        const all: Map<number, number> = new Map();
        let used: number[] = [];
        steps.forEach(({ key, isGet }, index) => {
          const isRecent = used.slice(-max).includes(key);
          if (isGet) {
            const value = map.get(key);
            if (isRecent) expect(value).toBe(all.get(key));
            else expect([undefined, all.get(key)]).toContain(value);
            if (value === undefined) return;
          } else {
            map.set(key, index);
            all.set(key, index);
          }
          used = [...used.filter((each) => each !== key), key];
        });
      }),
    );
  });

  it('forgets', () => {
    const map: RecentMap<number, string> = new RecentMap(2);
    for (let key = 0; key < 5; key += 1) map.set(key, String(key));
    expect([0, 1].map((key) => map.get(key))).toEqual([undefined, undefined]);
    expect([3, 4].map((key) => map.get(key))).toEqual(['3', '4']);
  });
});
