import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isEndId, Rejoining } from '../../src/internal/rejoining.js';
import type { StreamEvent } from '../../src/types.js';

const text = (piece: string, index = 0): StreamEvent => ({ type: 'text', text: piece, index, name: 'output' });
const thinking = (piece: string): StreamEvent => ({ type: 'thinking', text: piece, index: 0, name: 'thinking' });
const status = (word: string): StreamEvent => ({ type: 'status', status: word, terminal: false });
const delta = (piece: string): StreamEvent => ({
  type: 'tool-call-delta',
  index: 0,
  id: 'call',
  name: 'look',
  argumentsDelta: piece,
});
const usage: StreamEvent = { type: 'usage', provenance: 'reported', inputTokens: 3 };
const finish: StreamEvent = { type: 'finish', reason: 'stop' };
const output = (value: unknown): StreamEvent => ({ type: 'output', value, final: false });
const heartbeat: StreamEvent = { type: 'heartbeat', comment: 'OPENROUTER PROCESSING' };

interface Told {
  readonly event: StreamEvent;
  readonly id: string;
}

/** One connection: what its reader is told, under which ids. */
function tell(events: readonly StreamEvent[], lastEventId = '', isWhole = true): Told[] {
  const rejoining = new Rejoining(lastEventId);
  const told: Told[] = [];
  const add = (news: readonly StreamEvent[]): void => {
    for (const event of news) told.push({ event, id: rejoining.idOf(event) ?? told.at(-1)?.id ?? lastEventId });
  };
  for (const event of events) add(rejoining.take(event));
  if (isWhole) add(rejoining.end());
  return told;
}

const eventsOf = (told: readonly Told[]): StreamEvent[] => told.map(({ event }) => event);

/** What a reader has of an answer: the pieces that follow one another in one text put together, states left out. */
function readerOf(events: readonly StreamEvent[]): string[] {
  const parts: { key: string; text: string }[] = [];
  for (const event of events) {
    if (event.type === 'restart') parts.length = 0;
    const key = [event.type, 'index' in event ? event.index : '', 'id' in event ? event.id : ''].join(' ');
    const piece = 'text' in event ? event.text : event.type === 'tool-call-delta' ? event.argumentsDelta : undefined;
    const last = parts.at(-1);
    if (piece !== undefined && last?.key === key) last.text += piece;
    else if (piece !== undefined) parts.push({ key, text: piece });
    else if (event.type === 'output') parts.push({ key, text: JSON.stringify(event.value) });
  }
  return parts.map((part) => `${part.key}: ${part.text}`);
}

/** The same answer in pieces of other sizes. */
function recut(events: readonly StreamEvent[], size: number): StreamEvent[] {
  const whole: StreamEvent[] = [];
  for (const event of events) {
    const last = whole.at(-1);
    if (event.type === 'text' && last?.type === 'text' && last.index === event.index) {
      whole[whole.length - 1] = { ...last, text: last.text + event.text };
    } else whole.push(event);
  }
  return whole.flatMap((event) =>
    event.type === 'text'
      ? (event.text.match(new RegExp(`[^]{1,${String(size)}}`, 'g')) ?? []).map((piece) => text(piece, event.index))
      : [event],
  );
}

const ANSWER: readonly StreamEvent[] = [
  status('queued'),
  status('running'),
  thinking('hm'),
  thinking('m'),
  text('one '),
  text('two '),
  usage,
  delta(''),
  delta('{"a":'),
  delta('1}'),
  text('three'),
  output({ a: 1 }),
  usage,
  finish,
];

const anyEvent: fc.Arbitrary<StreamEvent> = fc.oneof(
  { weight: 6, arbitrary: fc.string({ minLength: 1, maxLength: 6 }).map((piece) => text(piece)) },
  fc.string({ minLength: 1, maxLength: 6 }).map((piece) => text(piece, 1)),
  fc.string({ minLength: 1, maxLength: 6 }).map(thinking),
  fc.string({ maxLength: 6 }).map(delta),
  fc.constantFrom('queued', 'running').map(status),
  fc.integer().map(output),
  fc.constant(usage),
  fc.constant(heartbeat),
);

describe('Rejoining', () => {
  it('tells a reader that comes for the first time everything', () => {
    expect(eventsOf(tell(ANSWER))).toStrictEqual(ANSWER);
  });

  it.each(ANSWER.map((_, at) => at + 1))('tells one that had %d events the rest of the very same replay', (had) => {
    const { id } = tell(ANSWER)[had - 1]!;
    expect(eventsOf(tell(ANSWER, id))).toStrictEqual(ANSWER.slice(had));
  });

  it('numbers on from where the reader was', () => {
    const first = tell(ANSWER);
    const again = tell(ANSWER, first[4]!.id);
    expect([...first.slice(0, 5), ...again].map(({ id }) => Number.parseInt(id, 10))).toStrictEqual(
      ANSWER.map((_, at) => at + 1),
    );
    expect(again.map(({ id }) => id)).toStrictEqual(first.slice(5).map(({ id }) => id));
  });

  it.each([1, 2, 3, 1_000])('joins a replay that is cut into pieces of %d characters', (size) => {
    const first = tell(ANSWER);
    for (const [at, { id }] of first.entries()) {
      const again = eventsOf(tell(recut(ANSWER, size), id));
      expect(again.map(({ type }) => type)).not.toContain('restart');
      expect(readerOf([...ANSWER.slice(0, at + 1), ...again])).toStrictEqual(readerOf(ANSWER));
    }
  });

  it('joins however an answer was cut, how often it was lost, and whatever it holds', () => {
    fc.assert(
      fc.property(
        fc.array(anyEvent, { minLength: 1, maxLength: 30 }),
        fc.array(fc.record({ at: fc.nat(40), size: fc.integer({ min: 1, max: 9 }) }), { minLength: 1, maxLength: 4 }),
        (events, cuts) => {
          const answer = [...events, finish];
          const seen: StreamEvent[] = [];
          let id = '';
          for (const { at, size } of cuts) {
            const part = tell(recut(answer, size), id, false).slice(0, at);
            seen.push(...eventsOf(part));
            id = part.at(-1)?.id ?? id;
          }
          seen.push(...eventsOf(tell(answer, id)));
          expect(seen.map(({ type }) => type)).not.toContain('restart');
          expect(readerOf(seen)).toStrictEqual(readerOf(answer));
        },
      ),
    );
  });

  it('tells a restart, then all of it, where the replay is another answer', () => {
    const id = tell([thinking('hm'), text('one two')])[1]!.id;
    const other = [thinking('hm'), text('one '), text('too'), text(' many'), finish];
    expect(eventsOf(tell(other, id))).toStrictEqual([
      expect.objectContaining({ type: 'restart', discard: { chars: 7, thinkingChars: 2 } }),
      ...other,
    ]);
  });

  it.each([
    ['shorter', [text('one'), finish]],
    ['empty', [finish]],
    ['nothing at all', []],
    ['another text', [text('ONE two'), finish]],
    ['of another output', [text('one two', 1), finish]],
    ['thought where it was said', [thinking('one two'), finish]],
  ])('tells a restart for a replay that is %s', (_, replay: readonly StreamEvent[]) => {
    const id = tell([text('one two')])[0]!.id;
    const [restart, ...rest] = eventsOf(tell(replay, id));
    expect(restart).toMatchObject({ type: 'restart', discard: { chars: 7 } });
    expect(rest).toStrictEqual(replay);
  });

  it('never joins another answer', () => {
    fc.assert(
      fc.property(fc.array(anyEvent, { minLength: 1 }), fc.array(anyEvent), (events, others) => {
        const had = readerOf(events);
        const { id } = tell(events).at(-1)!;
        const again = eventsOf(tell([...others, finish], id)).filter(({ type }) => type !== 'heartbeat');
        const isSame = JSON.stringify(readerOf(others).slice(0, had.length)) === JSON.stringify(had);
        if (again[0]?.type === 'restart') expect(readerOf([...events, ...again])).toStrictEqual(readerOf(others));
        else expect(isSame || readerOf(others).join('\n').startsWith(had.join('\n'))).toBe(true);
      }),
    );
  });

  it('tells a state that a replay has and the reader has not', () => {
    const first = tell([status('queued'), text('one'), usage, status('running')]);
    const replay = [text('one'), status('completed'), finish];
    expect(eventsOf(tell(replay, first.at(-1)!.id))).toStrictEqual([status('completed'), finish]);
    expect(eventsOf(tell(replay, first[1]!.id))).toStrictEqual([status('completed'), finish]);
  });

  it('tells no state again that the reader has', () => {
    const first = tell([status('queued'), text('one'), usage, status('running')]);
    const replay = [status('running'), text('o'), text('ne'), usage, status('running'), finish];
    expect(eventsOf(tell(replay, first.at(-1)!.id))).toStrictEqual([finish]);
  });

  it('passes heartbeats while it compares, and counts none', () => {
    const id = tell([text('one'), heartbeat])[0]!.id;
    expect(eventsOf(tell([heartbeat, text('on'), heartbeat, text('e two')], id))).toStrictEqual([
      heartbeat,
      heartbeat,
      text(' two'),
    ]);
  });

  it('compares anew where the replay begins anew', () => {
    const id = tell([text('one')])[0]!.id;
    const restart: StreamEvent = { type: 'restart', attempt: 2, because: 'cut', discard: { chars: 1 } };
    expect(eventsOf(tell([text('o'), restart, text('one two')], id))).toStrictEqual([text(' two')]);
    expect(eventsOf(tell([text('one two'), restart, text('else')], id))).toStrictEqual([
      text(' two'),
      restart,
      text('else'),
    ]);
  });

  it('joins behind a restart that the reader was told', () => {
    const restart: StreamEvent = { type: 'restart', attempt: 2, because: 'cut', discard: { chars: 3 } };
    const first = tell([text('one'), restart, text('two')]);
    expect(eventsOf(tell([text('two three')], first[2]!.id))).toStrictEqual([text(' three')]);
    expect(eventsOf(tell([text('two three')], first[1]!.id))).toStrictEqual([text('two three')]);
  });

  it.each(['17', 'x', '1-', '99999999999999999-1-1-0-1', '1-zzzzzzzzzzzz-1-0-1', 'ü', '-end'])(
    'tells a restart where the id %s says nothing',
    (id) => {
      expect(eventsOf(tell([text('one')], id))).toStrictEqual([
        expect.objectContaining({ type: 'restart', discard: { chars: 0 } }),
        text('one'),
      ]);
      expect(eventsOf(tell([], id))).toStrictEqual([expect.objectContaining({ type: 'restart' })]);
    },
  );

  it('holds so much of a replay and no more, then tells a restart', () => {
    const id = '5-zzzzzz-zzzzzz-0-1';
    const rejoining = new Rejoining(id);
    const piece = text('x'.repeat(65_536));
    let taken = 0;
    let told: readonly StreamEvent[] = [];
    while (told.length === 0) {
      told = rejoining.take(piece);
      taken += 1;
    }
    expect(taken).toBe(16);
    expect(told.map(({ type }) => type)).toStrictEqual(['restart', ...told.slice(1).map(() => 'text')]);
    expect(told).toHaveLength(17);
    expect(rejoining.take(piece)).toStrictEqual([piece]);
  });

  it('knows the id of an end', () => {
    const rejoining = new Rejoining('');
    rejoining.idOf(text('one'));
    expect(isEndId(rejoining.endId())).toBe(true);
    expect(rejoining.endId()).toBe('2-end');
    expect(tell(ANSWER).filter(({ id }) => isEndId(id))).toStrictEqual([]);
  });
});
