import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Delivered, Replay } from '../../src/protocol/replay.js';
import type { StreamEvent } from '../../src/types.js';

const text = (piece: string, index = 0): StreamEvent => ({ type: 'text', text: piece, index, name: 'output' });
const thinking = (piece: string): StreamEvent => ({ type: 'thinking', text: piece, index: 0, name: 'thinking' });
const refusal = (piece: string): StreamEvent => ({ type: 'refusal', text: piece, index: 0, name: 'output' });
const call = (argumentsDelta: string, id = 'c1'): StreamEvent => ({
  type: 'tool-call-delta',
  index: 0,
  id,
  name: 'look',
  argumentsDelta,
});
const status = (word: string): StreamEvent => ({ type: 'status', status: word, terminal: false });
const raw = (frame: unknown): StreamEvent => ({ type: 'raw', frame });

function delivered(...events: readonly StreamEvent[]): Delivered {
  const all = new Delivered();
  for (const event of events) all.note(event);
  return all;
}

/** What a replay lets pass. */
function passed(replay: Replay, events: readonly StreamEvent[]): StreamEvent[] {
  return events.flatMap((event) => replay.take(event) ?? []);
}

type Make = (piece: string) => StreamEvent;
const outputs: readonly Make[] = [
  text,
  (piece) => text(piece, 1),
  thinking,
  refusal,
  call,
  (piece) => call(piece, 'c2'),
];

/** The text of each output, pieces joined. */
function joined(events: readonly StreamEvent[]): Record<string, string> {
  const all: Record<string, string> = {};
  for (const event of events) {
    const [piece, place] =
      'text' in event
        ? [event.text, `${event.type} ${String(event.index)}`]
        : event.type === 'tool-call-delta'
          ? [event.argumentsDelta, event.id]
          : ['', ''];
    if (piece !== '') all[place] = (all[place] ?? '') + piece;
  }
  return all;
}

function cut(whole: string, sizes: readonly number[], make: Make): StreamEvent[] {
  const events: StreamEvent[] = [];
  let at = 0;
  for (let i = 0; at < whole.length; i += 1) {
    const size = sizes[i % sizes.length] ?? 1;
    events.push(make(whole.slice(at, at + size)));
    at += size;
  }
  return events;
}

/** Outputs, each with a text that was delivered in part, cut in two ways. */
const told = (minLength: number) =>
  fc.uniqueArray(fc.constantFrom(...outputs), { minLength: 1, maxLength: 4 }).chain((makes) =>
    fc.tuple(
      ...makes.map((make) =>
        fc.record({
          make: fc.constant(make),
          old: fc.string({ minLength, maxLength: 40 }),
          more: fc.string({ maxLength: 12 }),
          first: fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 4 }),
          second: fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 4 }),
        }),
      ),
    ),
  );

describe('a replay', () => {
  it('lets pass exactly what follows in each output, however it is cut', () => {
    fc.assert(
      fc.property(told(0), (all) => {
        const old = all.flatMap(({ make, old, first }) => cut(old, first, make));
        const again = all.flatMap(({ make, old, more, second }) => cut(old + more, second, make));
        const replay = new Replay(delivered(...old), 'sure');
        expect(joined(passed(replay, again))).toEqual(joined(all.map(({ make, more }) => make(more))));
        replay.end();
        expect(replay.isOther).toBe(false);
      }),
    );
  });

  it('is of another answer after one changed character, and lets nothing pass from there', () => {
    fc.assert(
      fc.property(told(1), fc.nat(), (all, place) => {
        const old = all.flatMap(({ make, old, first }) => cut(old, first, make));
        const again = all.flatMap(({ make, old, more, second }, i) => {
          const at = place % old.length;
          const changed = i === 0 ? `${old.slice(0, at)}\u0000${old.slice(at + 1)}` : old;
          return cut(changed + more, second, make);
        });
        const replay = new Replay(delivered(...old), 'sure');
        expect(passed(replay, again)).toEqual([]);
        expect(replay.isOther).toBe(true);
      }),
    );
  });

  it('is of another answer where it ends before everything came again', () => {
    const replay = new Replay(delivered(text('Ly'), text('on')), 'sure');
    expect(passed(replay, [text('Lyo')])).toEqual([]);
    expect(replay.isOther).toBe(false);
    replay.end();
    expect(replay.isOther).toBe(true);
  });

  it.each([
    ['white space', [text('Lyon \n')], [text('Lyon')], false],
    ['all white space', [text(' \n')], [], false],
    ['an output', [text('Lyon'), thinking('Hm')], [text('Lyon')], true],
    ['the end of an output', [text('Lyon'), thinking('Hm')], [text('Lyon'), thinking('H')], true],
  ])('that lacks %s in the end is of another answer: it depends', (_, old, again, isOther) => {
    const replay = new Replay(delivered(...old), 'sure');
    passed(replay, again);
    replay.end();
    expect(replay.isOther).toBe(isOther);
  });

  it('gives what is new of an event its other members', () => {
    const replay = new Replay(delivered(text('Ly'), call('{"q"')), 'sure');
    expect(passed(replay, [text('Lyon'), call('{"q":1')])).toEqual([text('on'), call(':1')]);
  });

  it('tells the beginning of a tool call without arguments once', () => {
    expect(passed(new Replay(delivered(), 'sure'), [call('')])).toEqual([call('')]);
    expect(passed(new Replay(delivered(call('')), 'sure'), [call(''), call('{}')])).toEqual([call('{}')]);
  });

  it('leaves out as many other events as there were', () => {
    const old = [raw(1), raw(2), { type: 'log', message: 'a' } as const];
    const replay = new Replay(delivered(...old), 'sure');
    expect(passed(replay, [raw(1), raw(2), raw(3), ...old.slice(2), ...old.slice(2)])).toEqual([raw(3), old[2]]);
  });

  it('tells a state that is new, whatever came before', () => {
    const old = delivered(status('pending'), status('running'));
    const news = passed(new Replay(old, 'sure'), [status('running'), status('pending'), status('completed')]);
    expect(news).toEqual([status('completed')]);
    expect(passed(new Replay(delivered(status('pending')), 'doubtful'), [status('running')])).toEqual([
      status('running'),
    ]);
  });

  it('repeats no heartbeat, usage or finish: these are told by each connection', () => {
    const events: StreamEvent[] = [
      { type: 'heartbeat', comment: '' },
      { type: 'usage', inputTokens: 1, provenance: 'reported' },
      { type: 'finish', reason: 'stop' },
    ];
    expect(passed(new Replay(delivered(...events), 'sure'), events)).toEqual(events);
  });

  it('is compared with what was delivered before it, and leaves that as it is', () => {
    const old = delivered(text('Ly'), status('a'));
    const replay = new Replay(old, 'sure');
    for (const event of passed(replay, [text('Lyon'), status('b')])) old.note(event);
    expect(passed(replay, [text('.')])).toEqual([text('.')]);
    expect(passed(new Replay(old, 'sure'), [text('Lyon!'), status('b')])).toEqual([text('!')]);
  });
});

describe('a stream that may be a replay', () => {
  const enough = 'sixteen letters.';

  it('lets pass what follows once everything has come again, however it is cut', () => {
    fc.assert(
      fc.property(told(16), (all) => {
        const old = all.flatMap(({ make, old, first }) => cut(old, first, make));
        const replay = new Replay(delivered(...old), 'doubtful');
        const again = [
          ...all.flatMap(({ make, old, second }) => cut(old, second, make)),
          ...all.flatMap(({ make, more, second }) => cut(more, second, make)),
        ];
        expect(joined(passed(replay, again))).toEqual(joined(all.map(({ make, more }) => make(more))));
      }),
    );
  });

  it('lets nothing pass where it goes on where the stream broke, or is another answer, and is none for sure', () => {
    for (const again of [' And more.', 'Paris', 'sixteen', 'sixteen letters!']) {
      const replay = new Replay(delivered(text(enough)), 'doubtful');
      expect(passed(replay, [text(again), text(enough), text('?')])).toEqual([]);
      replay.end();
      expect(replay.isOther).toBe(false);
    }
  });

  it('lets nothing pass where too little was delivered to tell', () => {
    const replay = new Replay(delivered(text(enough.slice(1))), 'doubtful');
    expect(passed(replay, [text(enough.slice(1)), text('more'), text('and more')])).toEqual([]);
    expect(passed(new Replay(delivered(text(enough)), 'doubtful'), [text(enough), text('more')])).toEqual([
      text('more'),
    ]);
  });

  it('lets everything pass where nothing was delivered, piece by piece', () => {
    const old = delivered(status('pending'));
    const replay = new Replay(old, 'doubtful');
    const pieces = [text('L'), text('y'), thinking('Hm'), text('on')];
    const news = pieces.flatMap((piece) => {
      const fresh = replay.take(piece);
      if (fresh !== undefined) old.note(fresh);
      return fresh ?? [];
    });
    expect(news).toEqual(pieces);
  });

  it('waits for all outputs before any goes on', () => {
    const replay = () => new Replay(delivered(thinking('Hm'), text(enough)), 'doubtful');
    expect(passed(replay(), [text(`${enough} More`)])).toEqual([]);
    expect(passed(replay(), [thinking('Hm'), text(`${enough} More`)])).toEqual([text(' More')]);
    expect(passed(replay(), [refusal('No')])).toEqual([]);
  });
});
