import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Presence, type ReaderMark } from '../../src/internal/presence.js';

let told: (readonly ReaderMark[])[];
let answer: () => Promise<void>;
let presence: Presence;

beforeEach(() => {
  vi.useFakeTimers();
  told = [];
  answer = () => Promise.resolve();
  presence = new Presence(300, (marks) => {
    told.push(marks);
    return answer();
  });
});
afterEach(() => {
  vi.useRealTimers();
});

/** What was told since it was asked before: the streams, with a sign for those that are left. */
async function heard(): Promise<string[]> {
  await vi.advanceTimersByTimeAsync(0);
  return told
    .splice(0)
    .map((marks) => marks.map(({ stream, isReading }) => (isReading ? '+' : '-') + stream).join(' '));
}

describe('Presence', () => {
  it('says nothing where nobody wants to know', async () => {
    const attendees = [presence.enter('a'), presence.enter('a'), presence.enter('b')];
    for (const attendee of attendees) attendee.hears(false);
    await vi.advanceTimersByTimeAsync(1_000);
    for (const attendee of attendees) attendee.leave();
    expect(await heard()).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('says once for all readers of a stream that it is read, and that the last of them has left', async () => {
    const attendees = [presence.enter('a'), presence.enter('a'), presence.enter('a')];
    for (const attendee of attendees) attendee.hears(true);
    attendees[0]?.hears(true);
    expect(await heard()).toEqual(['+a']);
    attendees[0]?.leave();
    attendees[0]?.leave();
    attendees[1]?.leave();
    expect(await heard()).toEqual([]);
    attendees[2]?.leave();
    expect(await heard()).toEqual(['-a']);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('says so again three times in the time for which it counts, of all streams at once', async () => {
    const attendees = ['a', 'b', 'c'].map((stream) => presence.enter(stream));
    for (const attendee of attendees) attendee.hears(true);
    expect(await heard()).toEqual(['+a +b +c']);
    await vi.advanceTimersByTimeAsync(99);
    expect(await heard()).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    attendees[1]?.leave();
    expect(await heard()).toEqual(['+a +b +c', '-b']);
    await vi.advanceTimersByTimeAsync(200);
    expect(await heard()).toEqual(['+a +c', '+a +c']);
  });

  it('gives each reading a name of its own', async () => {
    const names: (string | undefined)[] = [];
    for (let visit = 0; visit < 2; visit += 1) {
      const attendee = presence.enter('a');
      attendee.hears(true);
      await vi.advanceTimersByTimeAsync(0);
      attendee.leave();
      await vi.advanceTimersByTimeAsync(0);
      names.push(...told.splice(0).map(([mark]) => mark?.reader));
    }
    const other = new Presence(300, (marks) => {
      told.push(marks);
      return Promise.resolve();
    });
    other.enter('a').hears(true);
    await vi.advanceTimersByTimeAsync(0);
    names.push(told[0]?.[0]?.reader);
    expect(names[0]).toBe(names[1]);
    expect(names[2]).toBe(names[3]);
    expect(new Set(names).size).toBe(3);
    other.close();
  });

  it('tells one thing at a time, and of each reading the newest', async () => {
    let done: () => void = () => undefined;
    answer = () => new Promise((resolve) => (done = resolve));
    const first = presence.enter('a');
    first.hears(true);
    expect(await heard()).toEqual(['+a']);
    const second = presence.enter('b');
    second.hears(true);
    await vi.advanceTimersByTimeAsync(150);
    first.leave();
    second.leave();
    presence.enter('a').hears(true);
    expect(await heard()).toEqual([]);
    done();
    expect(await heard()).toEqual(['-b -a +a']);
  });

  it('tells what was not heard with the next time', async () => {
    answer = () => Promise.reject(new Error('the store is away'));
    presence.enter('a').hears(true);
    expect(await heard()).toEqual(['+a']);
    answer = () => Promise.resolve();
    await vi.advanceTimersByTimeAsync(100);
    expect(await heard()).toEqual(['+a']);
  });

  it('stops when nobody wants to know any more, and begins when somebody does', async () => {
    const attendee = presence.enter('a');
    attendee.hears(true);
    expect(await heard()).toEqual(['+a']);
    attendee.hears(false);
    await vi.advanceTimersByTimeAsync(500);
    expect(await heard()).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
    attendee.hears(true);
    expect(await heard()).toEqual(['+a']);
    attendee.hears(false);
    attendee.leave();
    attendee.hears(true);
    expect(await heard()).toEqual([]);
  });

  it('tells of many streams in parts', async () => {
    const attendees = Array.from({ length: 600 }, (_, index) => presence.enter(String(index)));
    for (const attendee of attendees) attendee.hears(true);
    await vi.advanceTimersByTimeAsync(0);
    expect(told.map(({ length }) => length)).toEqual([250, 250, 100]);
    expect(presence.close().map(({ length }) => length)).toEqual([250, 250, 100]);
  });

  it('says when it is closed what is still to be told, and nothing after', async () => {
    const attendees = [presence.enter('a'), presence.enter('b'), presence.enter('c')];
    attendees[0]?.hears(true);
    attendees[1]?.hears(true);
    expect(await heard()).toEqual(['+a +b']);
    const marks = presence.close().flat();
    expect(marks.map(({ stream, isReading }) => [stream, isReading])).toEqual([
      ['a', false],
      ['b', false],
    ]);
    attendees[2]?.hears(true);
    for (const attendee of attendees) attendee.leave();
    await vi.advanceTimersByTimeAsync(500);
    expect(await heard()).toEqual([]);
    expect(presence.close()).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });
});
