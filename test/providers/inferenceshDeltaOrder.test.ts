import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DeltaOrder } from '../../src/providers/inferenceshDeltaOrder.js';

function taken(order: DeltaOrder, ...all: readonly unknown[]): readonly unknown[] {
  return all.filter((seq) => order.accepts(seq));
}

function lost(...before: readonly unknown[]): DeltaOrder {
  const order = new DeltaOrder();
  taken(order, ...before);
  order.lose();
  return order;
}

describe('increments', () => {
  it('are all taken as long as no connection was lost, whatever their numbers', () => {
    const order = new DeltaOrder();
    const all = [1, 1, 7, undefined, 3, 'x', null];
    expect(taken(order, ...all)).toEqual(all);
    expect(order).toMatchObject({ isLost: false, hasGap: false });
  });

  it('go on where they follow the last one, and those told again are left out', () => {
    const order = lost(1, 2, 3);
    expect(order).toMatchObject({ isLost: true, hasGap: true });
    expect(taken(order, 2, 3, 4, 5)).toEqual([4, 5]);
    expect(order).toMatchObject({ isLost: false, hasGap: false });
  });

  it('are not taken after a gap, nor once it seems closed', () => {
    const order = lost(1, 2);
    expect(taken(order, 4, 3, 4, 5)).toEqual([]);
    order.lose();
    expect(taken(order, 3)).toEqual([]);
    expect(order).toMatchObject({ isLost: true, hasGap: true });
  });

  it('without numbers wait for a state', () => {
    for (const order of [lost(undefined), lost(1), lost()]) {
      expect(taken(order, undefined, null, '2')).toEqual([]);
      order.catchUp();
      expect(taken(order, undefined, null, '2')).toHaveLength(3);
      expect(order).toMatchObject({ isLost: false, hasGap: true });
    }
  });

  it('are taken after a state, but for those that were told before the loss', () => {
    const order = lost(1, 2);
    taken(order, 9);
    order.catchUp();
    expect(taken(order, 2, 10, 11)).toEqual([10, 11]);
  });

  it('are taken from the first one where none had come', () => {
    expect(taken(lost(), 1, 2)).toEqual([1, 2]);
    expect(taken(lost(), 0, 1)).toEqual([0, 1]);
    expect(taken(lost(), 2, 3)).toEqual([]);
    // What a state showed may be what they bring.
    const order = lost();
    order.catchUp();
    order.lose();
    expect(taken(order, 1, 2)).toEqual([]);
  });

  it('are not known by the number of the last one once a state has told more', () => {
    const order = lost(1);
    order.catchUp();
    order.lose();
    expect(taken(order, 1, 2, 3)).toEqual([]);
    order.catchUp();
    expect(taken(order, 4)).toEqual([4]);
    order.lose();
    expect(taken(order, 3, 4, 5)).toEqual([5]);
  });

  it('are never taken twice nor out of order, nor is one missed in between, without a state', () => {
    const connection = fc.record({ from: fc.nat(12), to: fc.nat(12) });
    fc.assert(
      fc.property(fc.array(connection), (connections) => {
        const order = new DeltaOrder();
        const all: number[] = [];
        connections.forEach(({ from, to }, i) => {
          if (i > 0) order.lose();
          // The first connection begins with the first increment, another one anywhere.
          for (let seq = i === 0 ? 1 : from; seq <= to; seq += 1) if (order.accepts(seq)) all.push(seq);
        });
        const first = all[0] ?? 1;
        expect(all).toEqual(all.map((_, i) => first + i));
      }),
    );
  });
});
