import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GrowingList } from '../../src/internal/growingList.js';

describe('GrowingList', () => {
  it('keeps the newest, counts what it drops, and shows each view as it was', () => {
    const step = fc.oneof(fc.constant('add' as const), fc.constant('view' as const), fc.nat(40));
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 6 }), fc.array(step, { maxLength: 80 }), (max, steps) => {
        const list: GrowingList<string> = new GrowingList(max);
        const all: string[] = [];
        const views: { readonly view: () => readonly string[]; readonly expected: readonly string[] }[] = [];
        const kept = (): string[] => all.slice(-max);
        steps.forEach((each, index) => {
          if (each === 'add') {
            expect(list.add(`item ${String(index)}`)).toBe(all.length);
            all.push(`item ${String(index)}`);
          } else if (each === 'view') views.push({ view: list.view(), expected: kept() });
          else if (list.get(each) !== undefined) {
            list.replace(each, `new ${String(index)}`);
            all[each] = `new ${String(index)}`;
          } else expect(each >= all.length || each < all.length - max).toBe(true);
        });
        expect(list.dropped).toBe(Math.max(0, all.length - max));
        expect(list.view()()).toEqual(kept());
        for (const { view, expected } of views) expect(view()).toEqual(expected);
      }),
    );
  });

  it('makes the array of a view once, and the same for views without a change between', () => {
    const list: GrowingList<number> = new GrowingList(9);
    list.add(1);
    expect(list.view()).toBe(list.view());
    const view = list.view();
    expect(view()).toBe(view());
  });
});
