import * as fc from 'fast-check';
import { concat, delay, lastValueFrom, type Observable, of, Subject, take, toArray } from 'rxjs';
import { describe, expect, it } from 'vitest';
import * as z from 'zod/mini';
import { accumulate } from '../../src/operators/accumulate.js';
import { decode } from '../../src/operators/decode.js';
import { dialect } from '../../src/protocol/dialect.js';
import type { Message, MessageContent, RawEvent, StreamEvent, WireEvent } from '../../src/index.js';
import { marbles } from '../support/marbles.js';

const place = { index: 0, name: 'output' } as const;
const events: Record<string, StreamEvent> = {
  a: { type: 'text', text: 'A', ...place },
  b: { type: 'text', text: 'B', ...place },
  o: { type: 'text', text: 'O', index: 1, name: 'output' },
  t: { type: 'thinking', text: 'T', index: 0, name: 'thinking' },
  h: { type: 'heartbeat', comment: '' },
  w: { type: 'raw', frame: {} },
  r: { type: 'restart', attempt: 2, because: 'lost', discard: { chars: 1 } },
  f: { type: 'finish', reason: 'stop' },
};
const empty: MessageContent = { outputs: [], thinking: '', toolCalls: [], toolCallPreviews: [], restarts: 0 };
const text = (content: string, done = false, index = 0) =>
  ({ type: 'text', index, name: 'output', content, done }) as const;
const contents: Record<string, MessageContent> = {
  1: { ...empty, outputs: [text('A')] },
  2: { ...empty, outputs: [text('A')], thinking: 'T' },
  3: { ...empty, outputs: [text('AB')], thinking: 'T' },
  4: { ...empty, outputs: [text('AB', true)], thinking: 'T', finish: { type: 'finish', reason: 'stop' } },
  5: { ...empty, restarts: 1 },
  6: { ...empty, outputs: [text('B')], restarts: 1 },
};
const messages = contents as Record<string, Message>; // `toRequest` is not enumerable, and not compared

async function whole(...list: StreamEvent[]): Promise<Message> {
  return lastValueFrom(of(...list).pipe(accumulate()));
}

describe('accumulate', () => {
  it(
    'gives the message so far at each event that changes it',
    marbles((m) => {
      const source = m.cold(' -a-t-h-b-w-(f|)', events);
      const subs = '          ^----------!    ';
      const expected = '      -1-2---3---(4|)';
      m.expect(source.pipe(accumulate())).toBeObservable(expected, messages);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'is silent, empty or broken as its source is',
    marbles((m) => {
      m.expect(m.cold('-').pipe(accumulate())).toBeObservable('-');
      m.expect(m.cold<StreamEvent>('--|').pipe(accumulate())).toBeObservable('--|');
      m.expect(m.cold('-a-#', events).pipe(accumulate())).toBeObservable('-1-#', messages);
    }),
  );

  it(
    'stops its source when its reader leaves',
    marbles((m) => {
      const source = m.cold(' -a-b-', events);
      const unsub = '         --!   ';
      m.expect(source.pipe(accumulate()), unsub).toBeObservable('-1-', messages);
      m.expect(source).toHaveSubscriptions('^-!');
    }),
  );

  it(
    'begins anew with a restart',
    marbles((m) => {
      m.expect(m.cold('-a-r-b-', events).pipe(accumulate())).toBeObservable('-1-5-6-', messages);
    }),
  );

  it('keeps outputs apart by type, index and name, in the order in which they began', async () => {
    const { outputs } = await whole(
      { type: 'text', text: 'A', ...place },
      { type: 'text', text: 'other', index: 1, name: 'output', alternative: true },
      { type: 'refusal', text: 'No', ...place },
      { type: 'media', kind: 'image', content: 'one', index: 2, name: 'picture' },
      { type: 'media', kind: 'image', content: 'two', index: 2, name: 'picture' },
      { type: 'text', text: 'B', ...place },
    );
    expect(outputs).toEqual([
      { type: 'text', ...place, content: 'AB', done: false }, // it went on
      { type: 'text', index: 1, name: 'output', alternative: true, content: 'other', done: false },
      { type: 'refusal', ...place, content: 'No', done: true },
      { type: 'media', index: 2, name: 'picture', kind: 'image', content: 'one', done: true },
      { type: 'media', index: 2, name: 'picture', kind: 'image', content: 'two', done: true },
    ]);
  });

  it('holds an output for done when the next item of its answer begins, be they numbered, but not for an alternative', async () => {
    const alternative = (said: string, index: number, name = 'output'): StreamEvent => ({
      type: 'text',
      text: said,
      index,
      name,
      alternative: true,
    });
    const { outputs } = await whole(
      { type: 'text', text: 'A', index: 0, name: 'output' },
      alternative('B', 1),
      alternative('C', 2),
      { type: 'media', kind: 'image', content: 'D', index: 3, name: 'output' },
      alternative('E', 2, 'appendix'),
    );
    expect(outputs.map(({ content, done }) => [content, done])).toEqual([
      ['A', true],
      ['B', false],
      ['C', true],
      ['D', true],
      ['E', false],
    ]);
  });

  it('shows a tool call as a preview until it is whole, and never as a call before', async () => {
    const delta = (argumentsDelta: string): StreamEvent => ({
      type: 'tool-call-delta',
      index: 0,
      id: 'c',
      name: 'look',
      argumentsDelta,
    });
    const call: StreamEvent = {
      type: 'tool-call',
      index: 0,
      id: 'c',
      name: 'look',
      arguments: { q: 1 },
      argumentsText: '{"q":1}',
    };
    const cut = await whole(delta('{"q"'), delta(':1'));
    expect(cut).toMatchObject({
      toolCalls: [],
      toolCallPreviews: [{ id: 'c', complete: false, argumentsText: '{"q":1' }],
    });
    expect(await whole(delta('{"q"'), delta(':1}'), call)).toMatchObject({ toolCalls: [call], toolCallPreviews: [] });
  });

  it('keeps the last usage, its cost, the state and the output', async () => {
    const message = await whole(
      { type: 'status', status: 'queued', terminal: false },
      { type: 'status', status: 'running', terminal: false },
      { type: 'usage', outputTokens: 1, provenance: 'reported' },
      { type: 'usage', outputTokens: 2, cost: { total: 0.1, currency: 'USD' }, provenance: 'reported' },
      { type: 'output', value: 1, final: false },
      { type: 'output', value: { done: true }, final: true },
    );
    expect(message).toEqual({
      ...empty,
      status: 'running',
      usage: { outputTokens: 2, cost: { total: 0.1, currency: 'USD' }, provenance: 'reported' },
      cost: { total: 0.1, currency: 'USD' },
      output: { done: true },
    });
  });

  it('shares what did not change, and leaves what it gave as it was', async () => {
    const source = [events['a'], events['o'], events['b'], events['t']].flatMap((event) => event ?? []);
    const [, two, three, four] = await lastValueFrom(of(...source).pipe(accumulate(), toArray()));
    expect(two?.outputs).toEqual([text('A', true), text('O', false, 1)]);
    expect(three?.outputs[0]).toEqual(text('AB')); // went on
    expect(three?.outputs[1]).toBe(two?.outputs[1]);
    expect(four?.outputs).toBe(three?.outputs);
  });

  it('has the text of every output, whatever comes in which order', () => {
    const piece = fc.record({ index: fc.integer({ min: 0, max: 3 }), text: fc.string({ minLength: 1 }) });
    fc.assert(
      fc.property(fc.array(piece, { minLength: 1, maxLength: 50 }), (pieces) => {
        let message: MessageContent = empty;
        of(...pieces.map(({ index, text: said }): StreamEvent => ({ type: 'text', text: said, index, name: 'output' })))
          .pipe(accumulate())
          .subscribe((next) => (message = next));
        for (const { index, content } of message.outputs) {
          expect(content).toBe(
            pieces
              .filter((each) => each.index === index)
              .map((each) => each.text)
              .join(''),
          );
        }
      }),
    );
  });

  it('leaves a synchronous source in its middle, and serves two subscribers apart', async () => {
    const source = of<StreamEvent[]>({ type: 'text', text: 'A', ...place }, { type: 'text', text: 'B', ...place });
    const first = source.pipe(accumulate(), take(1));
    for (let i = 0; i < 2; i += 1) expect(await lastValueFrom(first)).toEqual(messages['1']);
  });

  it('keeps up with a reader that feeds it from inside', () => {
    const subject = new Subject<StreamEvent>();
    const heard: unknown[] = [];
    subject.pipe(accumulate()).subscribe(({ outputs }) => {
      heard.push(outputs[0]?.content);
      if (heard.length === 1) subject.next({ type: 'text', text: 'B', ...place });
    });
    subject.next({ type: 'text', text: 'A', ...place });
    expect(heard).toEqual(['A', 'AB']);
  });

  describe('toRequest', () => {
    interface Turn {
      readonly role: 'assistant';
      readonly content: readonly unknown[];
    }
    const signed = (raw: RawEvent): boolean => Object.hasOwn(raw.frame as object, 'signature');
    const mine = dialect({
      name: 'mine',
      frame: z.looseObject({ event: z.optional(z.unknown()), end: z.optional(z.boolean()) }),
      decode: ({ event, end }, stream) => {
        if (event !== undefined) stream.emit(event as StreamEvent);
        if (end === true) stream.done();
      },
      turn: {
        needs: signed,
        build: (seen): Turn => ({
          role: 'assistant',
          content: seen.flatMap((event): unknown => {
            if (event.type === 'text' || event.type === 'thinking') return `${event.type}: ${event.text}`;
            if (event.type === 'raw') return event.frame;
            return event.type === 'finish' ? [] : event.type;
          }),
        }),
      },
    });
    const lineOf = (frame: object): WireEvent => ({ type: 'line', data: JSON.stringify(frame), number: 1 });
    const linesOf = (...list: readonly StreamEvent[]): WireEvent[] => list.map((event) => lineOf({ event }));
    const call: StreamEvent = {
      type: 'tool-call',
      index: 0,
      id: 'c',
      name: 'look',
      arguments: {},
      argumentsText: '{}',
    };
    const told: readonly StreamEvent[] = [
      { type: 'thinking', text: 'Let ', index: 0, name: 'thinking' },
      { type: 'thinking', text: 'me', index: 0, name: 'thinking' },
      { type: 'raw', frame: { noise: 1 } },
      { type: 'raw', frame: { signature: 'x+/=' } },
      { type: 'heartbeat', comment: '' },
      { type: 'text', text: 'A', ...place },
      { type: 'text', text: 'other', index: 1, name: 'output', alternative: true },
      { type: 'usage', outputTokens: 1, provenance: 'reported' },
      { type: 'text', text: 'B', ...place },
      { type: 'tool-call-delta', index: 0, id: 'c', name: 'look', argumentsDelta: '{' },
      call,
    ];
    const turn = ['thinking: Let me', { signature: 'x+/=' }, 'text: AB', 'tool-call'];

    it("gives the turn in the dialect's form: joined text, whole calls, and the frames that it needs", async () => {
      const wire = [...linesOf(...told), lineOf({ end: true })];
      const message = await lastValueFrom(of(...wire).pipe(decode(mine), accumulate()));
      expect(message.toRequest()).toStrictEqual({ role: 'assistant', content: turn });
    });

    it('gives of each message what it says, and no more when more has come', async () => {
      const messages = await lastValueFrom(
        of(
          ...linesOf({ type: 'text', text: 'A', ...place }, { type: 'text', text: 'B', ...place }),
          lineOf({ end: true }),
        ).pipe(decode(mine), accumulate(), toArray()),
      );
      expect(messages.map((message) => message.toRequest())).toMatchObject([
        { content: ['text: A'] },
        { content: ['text: AB'] },
        { content: ['text: AB'] },
      ]);
    });

    it('knows the dialect behind an asynchronous operator, and of a whole call', async () => {
      const wire = [...linesOf(...told), lineOf({ end: true })];
      const late = await lastValueFrom(of(...wire).pipe(decode(mine), delay(0), accumulate()));
      expect(late.toRequest()).toMatchObject({ content: turn });
    });

    it('takes the dialect that it is given for events from elsewhere, and its type with it', async () => {
      const message = await lastValueFrom(of(...told).pipe(accumulate({ dialect: mine })));
      const given: Turn = message.toRequest();
      expect(given.content).toStrictEqual(turn);
    });

    it('says so where it does not know the dialect, or where that knows no conversation', async () => {
      const lone = await whole(...told);
      expect(() => lone.toRequest()).toThrow(/accumulate\(\{ dialect \}\)/);
      const mute = dialect({ name: 'mute', frame: z.looseObject({}), decode: () => undefined });
      const message = await lastValueFrom(of(...told).pipe(accumulate({ dialect: mute })));
      expect(() => message.toRequest()).toThrow(/mute knows no conversation/);
    });

    it('begins anew with a restart', async () => {
      const message = await lastValueFrom(
        of(
          ...told,
          { type: 'restart', attempt: 2, because: 'lost', discard: { chars: 1 } } as const,
          { type: 'text', text: 'new', ...place } as const,
        ).pipe(accumulate({ dialect: mine })),
      );
      expect(message.toRequest().content).toStrictEqual(['text: new']);
    });

    it('is of the newest answer where one follows another', async () => {
      const answer = (text: string): Observable<StreamEvent> =>
        of(...linesOf({ type: 'text', text, ...place }), lineOf({ end: true })).pipe(decode(mine));
      const message = await lastValueFrom(concat(answer('first'), answer('second')).pipe(accumulate()));
      expect(message.toRequest()).toMatchObject({ content: ['text: second'] });
    });

    it('is no part of what a message says: it is not listed, compared, copied or printed', async () => {
      const message = await lastValueFrom(of(...told).pipe(accumulate({ dialect: mine })));
      expect(Object.keys(message)).not.toContain('toRequest');
      expect(JSON.stringify(message)).not.toContain('toRequest');
      expect(structuredClone(message)).toEqual(message);
    });
  });
});
