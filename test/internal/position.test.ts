import { describe, expect, it } from 'vitest';
import { Keeper, Position } from '../../src/internal/position.js';

const [one, other] = [{}, {}];

/** A keeper of calls that were subscribed to once, and the position of each. */
function kept(...calls: readonly object[]): { readonly keeper: Keeper; readonly positions: readonly Position[] } {
  const keeper = new Keeper('restart');
  const positions = calls.map((call) => {
    const position = new Position();
    expect(keeper.take(call)).toBeUndefined();
    keeper.keep(call, position);
    return position;
  });
  return { keeper, positions };
}

/** Takes a call's position back, as its next subscription does. */
function take(keeper: Keeper, call: object): Position | undefined {
  const position = keeper.take(call);
  if (position !== undefined) position.takenBy += 1;
  return position;
}

describe('a position', () => {
  it('has progressed where this attempt brought more than any before it', () => {
    const position = new Position();
    const attempts = [0, 2, 2, 1, 3].map((pieces) => {
      position.pieces = pieces;
      return position.hasProgressed();
    });
    expect(attempts).toEqual([false, true, false, false, true]);
  });

  it('that begins anew has nothing of the answer, and all that is known of the work', () => {
    const position = new Position();
    Object.assign(position, { chars: 4, thinkingChars: 2, content: true, pieces: 3, furthest: 3 });
    Object.assign(position, { workId: 'job_1', attempt: 2, lastEventId: '7', retryMs: 5, isSubmitted: true });
    position.reset();
    expect(position).toMatchObject({ chars: 0, thinkingChars: 0, content: false, pieces: 0 });
    expect(position).toMatchObject({ workId: 'job_1', attempt: 2, lastEventId: '7', retryMs: 5, isSubmitted: true });
    // As much as before is no progress.
    position.pieces = 3;
    expect(position.hasProgressed()).toBe(false);
  });
});

describe('a keeper gives a call its position back', () => {
  it('by the call’s identity, and a new call none', () => {
    const { keeper, positions } = kept(one, other);
    keeper.hold();
    expect([other, one, {}].map((call) => keeper.take(call))).toEqual([positions[1], positions[0], undefined]);
  });

  it('in the order of its subscriptions where it is subscribed to several times', () => {
    const { keeper, positions } = kept(one, other, one);
    for (let attempt = 0; attempt < 2; attempt += 1) {
      keeper.hold();
      const taken = [one, one, one].map((call) => keeper.take(call));
      expect(taken[0]).toBe(positions[0]);
      expect(taken[1]).toBe(positions[2]);
      expect(taken[2]).toBeUndefined();
    }
  });

  it('once, however often it is kept', () => {
    const { keeper, positions } = kept(one);
    const [position] = positions;
    if (position !== undefined) keeper.keep(one, position);
    expect(keeper.positions).toEqual(positions);
    expect(keeper.positions).toHaveLength(1);
  });
});

describe('what calls send', () => {
  it('is sent at once in the first attempt', () => {
    const { keeper } = kept(one);
    const sent: string[] = [];
    keeper.send(() => sent.push('a'));
    expect([sent, keeper.isAskingAgain]).toEqual([['a'], false]);
  });

  it('is held back in a later one, and sent in its order when all are back', () => {
    const { keeper } = kept(one, other);
    const sent: string[] = [];
    keeper.hold();
    expect(keeper.isAskingAgain).toBe(true);
    take(keeper, one);
    keeper.send(() => sent.push('one'));
    expect(keeper.areAllBack).toBe(false);
    take(keeper, other);
    keeper.send(() => {
      sent.push('other');
      keeper.send(() => sent.push('in between'));
    });
    keeper.send(() => sent.push('last'));
    expect([keeper.areAllBack, sent]).toEqual([true, []]);
    keeper.release();
    expect(sent).toEqual(['one', 'other', 'in between', 'last']);
    keeper.release();
    keeper.send(() => sent.push('later'));
    expect(sent).toHaveLength(5);
  });

  it('is not sent where it is dropped', () => {
    const { keeper } = kept(one);
    const sent: string[] = [];
    keeper.hold();
    keeper.send(() => sent.push('a'));
    keeper.drop();
    keeper.release();
    expect(sent).toEqual([]);
  });

  it('of one attempt is not sent in the next', () => {
    const { keeper } = kept(one);
    const sent: string[] = [];
    keeper.hold();
    keeper.send(() => sent.push('first'));
    keeper.hold();
    keeper.send(() => sent.push('second'));
    keeper.release();
    expect(sent).toEqual(['second']);
  });
});

describe('calls are all back', () => {
  it('where those that are complete did not come', () => {
    const { keeper, positions } = kept(one, other);
    Object.assign(positions[0] ?? {}, { isComplete: true });
    keeper.hold();
    expect(keeper.areAllBack).toBe(false);
    take(keeper, other);
    expect(keeper.areAllBack).toBe(true);
  });

  it('not where one was moved on by somebody else meanwhile', () => {
    const { keeper, positions } = kept(one);
    keeper.hold();
    take(keeper, one);
    expect(keeper.areAllBack).toBe(true);
    Object.assign(positions[0] ?? {}, { pieces: 1 });
    expect(keeper.areAllBack).toBe(false);
  });

  it('not by their coming in the attempt before', () => {
    const { keeper } = kept(one);
    keeper.hold();
    take(keeper, one);
    keeper.release();
    keeper.hold();
    expect(keeper.areAllBack).toBe(false);
    take(keeper, one);
    expect(keeper.areAllBack).toBe(true);
  });
});

describe('a subscription that is put off', () => {
  it('is waited for, and none at once where there is none', () => {
    const { keeper } = kept(one);
    const heard: string[] = [];
    keeper.whenAllSubscribed(() => heard.push('at once'));
    const [first, second] = [keeper.putOff(), keeper.putOff()];
    keeper.whenAllSubscribed(() => heard.push('when both have'));
    first();
    first(); // says it once
    expect(heard).toEqual(['at once']);
    second();
    expect(heard).toEqual(['at once', 'when both have']);
    keeper.putOff()();
    expect(heard).toHaveLength(2);
  });

  it('is not waited for any more once all is dropped', () => {
    const { keeper } = kept(one);
    const heard: string[] = [];
    const late = keeper.putOff();
    keeper.whenAllSubscribed(() => heard.push('never'));
    keeper.drop();
    late();
    expect(heard).toEqual([]);
  });
});
