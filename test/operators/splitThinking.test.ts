import * as fc from 'fast-check';
import { concat, lastValueFrom, of, Subject, take, throwError, toArray } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { splitThinking, type SplitThinkingOptions } from '../../src/operators/splitThinking.js';
import type { StreamEvent } from '../../src/types.js';
import { marbles } from '../support/marbles.js';

const text = (said: string, index = 0): StreamEvent => ({ type: 'text', text: said, index, name: 'output' });
const thinking = (said: string, index = 0): StreamEvent => ({ type: 'thinking', text: said, index, name: 'thinking' });
const finish: StreamEvent = { type: 'finish', reason: 'stop' };
const events: Record<string, StreamEvent> = {
  a: text('<thi'),
  b: text('nk>why</think>Be'),
  c: text('cause'),
  l: text('a <'),
  h: { type: 'heartbeat', comment: '' },
  s: { type: 'status', status: 'running', terminal: false },
  r: { type: 'restart', attempt: 2, because: 'lost', discard: { chars: 0 } },
  t: thinking('why'),
  x: text('Be'),
  y: text('cause'),
  A: text('a '),
  L: text('<'),
  f: finish,
};

async function split(pieces: readonly string[], options?: SplitThinkingOptions) {
  const list = await lastValueFrom(of(...pieces.map((piece) => text(piece))).pipe(splitThinking(options), toArray()));
  const joined = (type: string): string =>
    list.map((event) => (event.type === type && 'text' in event ? event.text : '')).join('');
  return { text: joined('text'), thinking: joined('thinking') };
}

describe('splitThinking', () => {
  it(
    'tells thinking from text, as soon as it is certain',
    marbles((m) => {
      const source = m.cold(' -a---b---c-(f|)', events);
      const subs = '          ^----------!   ';
      const expected = '      -----(tx)y-(f|)';
      m.expect(source.pipe(splitThinking())).toBeObservable(expected, events);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'holds back nothing but what may be a tag, and no other event for it',
    marbles((m) => {
      m.expect(m.cold('-l-h-s-(f|)', events).pipe(splitThinking())).toBeObservable('-A-h-s-(Lf|)', events);
    }),
  );

  it(
    'is silent, empty or broken as its source is',
    marbles((m) => {
      m.expect(m.cold('-').pipe(splitThinking())).toBeObservable('-');
      m.expect(m.cold<StreamEvent>('--|').pipe(splitThinking())).toBeObservable('--|');
      m.expect(m.cold('-l-#', events).pipe(splitThinking())).toBeObservable('-A-(L#)', events);
    }),
  );

  it(
    'stops its source when its reader leaves, and gives out nothing then',
    marbles((m) => {
      const source = m.cold(' -l---', events);
      m.expect(source.pipe(splitThinking()), '--!').toBeObservable('-A-', events);
      m.expect(source).toHaveSubscriptions('         ^-!');
    }),
  );

  it(
    'is emptied by a restart',
    marbles((m) => {
      m.expect(m.cold('-a-r-c-(f|)', events).pipe(splitThinking())).toBeObservable('---r-y-(f|)', events);
    }),
  );

  it('has a splitter for each output', async () => {
    const source = of(text('<think>one'), text('plain <', 1), text('</think>two'), text('b', 1), finish);
    expect(await lastValueFrom(source.pipe(splitThinking(), toArray()))).toEqual([
      thinking('one'),
      text('plain ', 1),
      text('two'),
      text('<b', 1),
      finish,
    ]);
  });

  it.each([
    [
      ['think', 'reasoning'],
      '<reasoning>a<think>b</reasoning>c<think>d</think>e',
      { thinking: 'a<think>bd', text: 'ce' },
    ],
    [['◁think▷'], 'x', { thinking: '', text: 'x' }],
    [undefined, '<thinking>a</thinking>', { thinking: '', text: '<thinking>a</thinking>' }],
  ] as const)('knows the tags %j', async (tags, whole, expected) => {
    expect(await split([whole], { tags })).toEqual(expected);
    expect(await split([...whole], { tags })).toEqual(expected);
  });

  it('loses and adds nothing, however the text is cut', () => {
    const word = fc.constantFrom('<think>', '</think>', '<', '</', 'think>', 'a', ' b ', '🌍', '<<think>', '\n');
    return fc.assert(
      fc.asyncProperty(
        fc.array(word, { maxLength: 12 }),
        fc.array(fc.nat(), { maxLength: 8 }),
        async (words, offsets) => {
          const whole = words.join('');
          const cuts = [...new Set(offsets.map((offset) => offset % (whole.length + 1)))].sort((a, b) => a - b);
          const pieces = [0, ...cuts]
            .map((from, index) => whole.slice(from, cuts[index] ?? whole.length))
            .filter((piece) => piece !== '');
          expect(await split(pieces)).toEqual(await split(whole === '' ? [] : [whole]));
        },
      ),
    );
  });

  it('gives out text before an error, but not the beginning of a tag that is all there was', () => {
    const lost = new Error('lost');
    for (const [piece, expected] of [
      ['a <th', ['a ', '<th']],
      ['<th', []],
    ] as const) {
      const heard: string[] = [];
      concat(
        of(text(piece)),
        throwError(() => lost),
      )
        .pipe(splitThinking())
        .subscribe({ next: (event) => 'text' in event && heard.push(event.text), error: () => undefined });
      expect(heard).toEqual(expected);
    }
  });

  it('leaves a synchronous source in its middle, and serves two subscribers apart', async () => {
    const first = of(text('<think>a</think>b')).pipe(splitThinking(), take(1));
    for (let i = 0; i < 2; i += 1) expect(await lastValueFrom(first)).toEqual(thinking('a'));
  });

  it('keeps the order where a reader feeds it from inside', () => {
    const subject = new Subject<StreamEvent>();
    const heard: string[] = [];
    subject.pipe(splitThinking()).subscribe((event) => {
      if (!('text' in event)) return;
      heard.push(event.text);
      if (heard.length === 1) subject.next(text('b'));
    });
    subject.next(text('a'));
    expect(heard).toEqual(['a', 'b']);
  });

  it.each([{ tags: ['a b'] }, { tags: ['<think>'] }])('refuses %j', (options) => {
    expect(() => splitThinking(options)).toThrow(TypeError);
  });

  it('refuses to look for nothing', () => {
    expect(() => splitThinking({ tags: [] })).toThrow('tags must');
  });

  it.each([
    ['finish', finish],
    [
      'a tool call of the same choice',
      { type: 'tool-call', index: 0, id: 'c', name: 'look', arguments: {}, argumentsText: '' },
    ],
    ['media of the same choice', { type: 'media', kind: 'image', content: '', index: 0, name: 'picture' }],
    ['the final output', { type: 'output', value: 1, final: true }],
  ] as const satisfies readonly (readonly [string, StreamEvent])[])(
    'gives out what it holds before %s',
    async (_, event) => {
      const heard = await lastValueFrom(of<StreamEvent[]>(text('a <th'), event).pipe(splitThinking(), toArray()));
      expect(heard).toEqual([text('a '), text('<th'), event]);
    },
  );

  it('counts what a restart voids as it was given out', async () => {
    const restart: StreamEvent = { type: 'restart', attempt: 2, because: 'lost', discard: { chars: 21 } };
    const source = of<StreamEvent[]>(text('<think>why</think>yes'), restart, text('no'), finish);
    expect(await lastValueFrom(source.pipe(splitThinking(), toArray()))).toEqual([
      thinking('why'),
      text('yes'),
      { ...restart, discard: { chars: 3, thinkingChars: 3 } },
      text('no'),
      finish,
    ]);
  });
});
