import * as fc from 'fast-check';
import {
  animationFrameScheduler,
  concat,
  EMPTY,
  lastValueFrom,
  map,
  merge,
  NEVER,
  Observable,
  of,
  queueScheduler,
  range,
  Subject,
  take,
  tap,
  throwError,
  VirtualTimeScheduler,
} from 'rxjs';
import { type RunHelpers, TestScheduler } from 'rxjs/testing';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { InterruptedError, ProviderError, SinkError } from '../../src/errors.js';
import { stopOn } from '../../src/operators/stopOn.js';
import { tapReceipt } from '../../src/operators/tapReceipt.js';
import { type PageElement, toElement, type ToElementOptions } from '../../src/sinks/toElement.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { fakeCall } from '../../src/testing/fakeCall.js';
import type { OutputPlace, Receipt, StreamEvent } from '../../src/types.js';
import { FakeElement, FakeText } from '../support/fakeElement.js';
import { marbles } from '../support/marbles.js';

const text = (content: string, place: Partial<OutputPlace> = {}): StreamEvent => ({
  type: 'text',
  text: content,
  index: 0,
  name: 'output',
  ...place,
});
const thinking = (content: string): StreamEvent => ({ type: 'thinking', text: content, index: 0, name: 'thinking' });
const finish: StreamEvent = { type: 'finish', reason: 'stop' };
const restart: StreamEvent = { type: 'restart', attempt: 2, because: 'a cut', discard: { chars: 1 } };
const answer = (...events: StreamEvent[]): Observable<StreamEvent> => fromCall(fakeCall([...events, finish]));

/** A receipt of a source without a flow, `totalMs` of virtual time after zero. */
const receipt = (more: Partial<Receipt>, totalMs: number): Receipt => ({
  where: 'element',
  chars: 0,
  bytes: 0,
  outcome: 'complete',
  timings: { startedAt: 0, totalMs },
  usage: { provenance: 'unknown' },
  attempts: 0,
  restarts: 0,
  warnings: [],
  requestIds: [],
  billing: 'ended',
  ...more,
});

/** What an element says, whenever it is changed. */
const changesOf = (element: FakeElement): Observable<string> =>
  new Observable((subscriber) => {
    element.onChange = (): void => {
      subscriber.next(element.textContent);
    };
  });

/** A test in virtual time that draws the frames itself; rxjs-marbles does not hand on `animate`. */
const frames =
  (test: (helpers: RunHelpers) => void): (() => void) =>
  () => {
    new TestScheduler((actual, expected) => {
      expect(actual).toStrictEqual(expected);
    }).run(test);
  };
const onFrames = { scheduler: animationFrameScheduler };

/** Shows a source that comes in one turn, and gives its receipt. */
function show(
  source: Observable<StreamEvent | string>,
  element: FakeElement,
  options?: ToElementOptions,
): Promise<Receipt> {
  return lastValueFrom(source.pipe(toElement(element, options)));
}

describe('text', () => {
  it(
    'is written once a frame, and the receipt comes when the last of it is written',
    frames(({ animate, cold, expectObservable, expectSubscriptions }) => {
      const element = new FakeElement();
      animate('              ----x---x---x---');
      const source = cold('  -a-b----c-d|', { a: 'Hel', b: 'lo', c: ' ž', d: '!' });
      const subs = '         ^----------!';
      const shown = '        ----x------y';
      const expected = '     -----------(r|)';
      expectObservable(changesOf(element)).toBe(shown, { x: 'Hello', y: 'Hello ž!' });
      expectObservable(source.pipe(toElement(element, onFrames))).toBe(expected, {
        r: receipt({ chars: 8, bytes: 9 }, 11),
      });
      expectSubscriptions(source.subscriptions).toBe(subs);
    }),
  );

  it(
    'asks for a frame only where there is something to write',
    frames(({ animate, cold, expectObservable, flush }) => {
      const asked = vi.spyOn(animationFrameScheduler, 'schedule');
      onTestFinished(() => {
        asked.mockRestore();
      });
      const element = new FakeElement();
      animate('              --x-x-x-x-x-x--');
      const source = cold('  a--e----b------', { a: 'a', e: '', b: 'b' });
      const shown = '        --x-------y----';
      expectObservable(changesOf(element)).toBe(shown, { x: 'a', y: 'ab' });
      expectObservable(source.pipe(toElement(element, onFrames)), '^--------------!').toBe('');
      flush();
      expect(asked).toHaveBeenCalledTimes(2);
    }),
  );

  it(
    'that no frame comes for is written after maxWaitMs, counted from the first of it',
    frames(({ animate, cold, expectObservable }) => {
      const element = new FakeElement();
      animate('              --------------');
      const source = cold('  a--b-----c----', { a: 'a', b: 'b', c: 'c' });
      const shown = '        -----x--------y';
      expectObservable(changesOf(element)).toBe(shown, { x: 'ab', y: 'abc' });
      expectObservable(source.pipe(toElement(element, { ...onFrames, maxWaitMs: 5 })), '^---------------!').toBe('');
    }),
  );

  it(
    'waits for a quarter of a second, unless told',
    frames(({ animate, cold, expectObservable }) => {
      const element = new FakeElement();
      animate('');
      expectObservable(changesOf(element)).toBe('-- 250ms x', { x: 'a' });
      expectObservable(cold('--a', { a: 'a' }).pipe(toElement(element, onFrames)), '^ 300ms !').toBe('');
    }),
  );

  it(
    'of maxWaitingChars does not wait',
    frames(({ animate, cold, expectObservable }) => {
      const element = new FakeElement();
      animate('              ------------');
      const source = cold('  a-b-c-d-e-f-', { a: '12', b: '3', c: '4', d: '5678', e: '9', f: '1234567' });
      const shown = '        ----x-y---z-';
      expectObservable(changesOf(element)).toBe(shown, { x: '1234', y: '12345678', z: '1234567891234567' });
      const sink = toElement(element, { ...onFrames, maxWaitingChars: 4 });
      expectObservable(source.pipe(sink), '^-----------!').toBe('');
    }),
  );

  it('has one clock where a scheduler is given', () => {
    const element = new FakeElement();
    const scheduler = new VirtualTimeScheduler();
    of('a')
      .pipe((source) => concat(source, NEVER), toElement(element, { scheduler, maxWaitMs: 70 }))
      .subscribe();
    expect(scheduler.actions.map(({ delay }) => delay)).toEqual([0, 70]);
    scheduler.flush();
    expect(element.textContent).toBe('a');
    expect(scheduler.frame).toBe(0);
  });

  it('may be written by a scheduler that does not wait', async () => {
    const element = new FakeElement();
    const shown: string[] = [];
    element.onChange = (): void => {
      shown.push(element.textContent);
    };
    expect(await show(of('a', 'b', 'c'), element, { scheduler: queueScheduler })).toMatchObject({ chars: 3 });
    expect(shown).toEqual(['a', 'ab', 'abc']);
  });

  it('waits for the frames of the page, where there are any', () => {
    const asked = vi.spyOn(animationFrameScheduler, 'schedule').mockReturnValue(EMPTY.subscribe());
    onTestFinished(() => {
      vi.unstubAllGlobals();
      asked.mockRestore();
    });
    const sink = toElement(new FakeElement());
    of('a').pipe(sink).subscribe();
    expect(asked).not.toHaveBeenCalled();
    vi.stubGlobal('requestAnimationFrame', () => 1);
    of('a').pipe(sink).subscribe();
    expect(asked).toHaveBeenCalledTimes(1);
  });
});

describe('a stream', () => {
  it(
    'that never ends is never told',
    marbles((m) => {
      const element = new FakeElement();
      const subs = '     ^----!';
      const expected = ' -----';
      const source = m.cold<string>('-');
      m.expect(source.pipe(toElement(element)), subs).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
      m.flush();
      expect(element.childNodes).toEqual([]);
    }),
  );

  it(
    'that is empty leaves what is there',
    marbles((m) => {
      const element = new FakeElement();
      element.append('Waiting');
      const source = m.cold<string>('--|');
      const expected = '             --(r|)';
      m.expect(source.pipe(toElement(element))).toBeObservable(expected, { r: receipt({}, 2) });
      m.flush();
      expect(element.textContent).toBe('Waiting');
    }),
  );

  it(
    'that fails is its error with the receipt, and what came stays',
    frames(({ animate, cold, expectObservable, expectSubscriptions, flush }) => {
      const element = new FakeElement();
      const error = new ProviderError('ill', { retryable: false });
      animate('              --x');
      const source = cold('  -a-b#', { a: 'a', b: 'b' }, error);
      const subs = '         ^---!';
      const expected = '     ----#';
      expectObservable(changesOf(element)).toBe('--x-y', { x: 'a', y: 'ab' });
      expectObservable(source.pipe(toElement(element, onFrames))).toBe(expected, {}, error);
      expectSubscriptions(source.subscriptions).toBe(subs);
      flush();
      expect(error.receipt).toStrictEqual(
        receipt(
          {
            chars: 2,
            bytes: 2,
            outcome: 'failed',
            error: { name: 'ProviderError', code: 'ERR_PROVIDER', message: 'ill' },
          },
          4,
        ),
      );
      expect(element.attributes.get('aria-busy')).toBe('false');
    }),
  );

  it(
    'that is left writes what waits, and no timer is left',
    frames(({ animate, cold, expectObservable, expectSubscriptions }) => {
      const element = new FakeElement();
      animate('              ------x');
      const source = cold('  -a-b-c|', { a: 'a', b: 'b', c: 'c' });
      const subs = '         ^---!';
      const expected = '     -----';
      // Once, and nothing at the frame or the time that it waited for.
      expectObservable(changesOf(element), '^ 300ms !').toBe('----x', { x: 'ab' });
      expectObservable(source.pipe(toElement(element, onFrames)), subs).toBe(expected);
      expectSubscriptions(source.subscriptions).toBe(subs);
    }),
  );

  it('that is left tells a receipt below', () => {
    const receipts: Receipt[] = [];
    const source = merge(of('half'), NEVER).pipe(
      toElement(new FakeElement()),
      tapReceipt((one) => receipts.push(one)),
    );
    source.subscribe().unsubscribe();
    expect(receipts).toMatchObject([{ outcome: 'stopped', by: 'unsubscribe', chars: 4 }]);
  });

  it('is nothing before it is subscribed to', () => {
    const element = new FakeElement();
    const subscribed = vi.fn();
    void of('a').pipe(tap({ subscribe: subscribed }), toElement(element));
    expect(subscribed).not.toHaveBeenCalled();
    expect(element.attributes.size).toBe(0);
  });

  it(
    'may be shown in two elements at once',
    marbles((m) => {
      const [one, two] = [new FakeElement(), new FakeElement()];
      const source = m.hot<string>('-a--b|', { a: 'a', b: 'b' });
      const all = merge(source.pipe(toElement(one)), source.pipe(toElement(two)));
      m.expect(all.pipe(map(({ chars }) => chars))).toBeObservable('-----(22|)', { 2: 2 } as never);
      m.expect(source).toHaveSubscriptions(['^----!', '^----!']);
      m.flush();
      expect([one.textContent, two.textContent]).toEqual(['ab', 'ab']);
    }),
  );

  it('may be asked for twice by one operator', async () => {
    const element = new FakeElement();
    const source = of('a').pipe(toElement(element));
    await lastValueFrom(source);
    expect(await lastValueFrom(source)).toMatchObject({ chars: 1 });
    expect(element.textContent).toBe('a');
  });

  it('may come in one turn, and be taken in part', async () => {
    const element = new FakeElement();
    expect(await show(of('a', 'b', 'c').pipe(take(2)), element)).toMatchObject({ chars: 2 });
    expect(element.textContent).toBe('ab');
    expect(await lastValueFrom(of('x', 'y').pipe(toElement(element), take(1)))).toMatchObject({ chars: 2 });
  });

  it('may be fed from its own element', async () => {
    const element = new FakeElement();
    const source = new Subject<string>();
    element.onChange = (): void => {
      if (element.textContent === 'a') source.next('b');
      if (element.textContent === 'ab') source.complete();
    };
    const told = show(source, element, { maxWaitingChars: 1 });
    source.next('a');
    expect(await told).toMatchObject({ chars: 2, bytes: 2 });
    expect(element.textContent).toBe('ab');
  });

  it('that was cut is an InterruptedError, and what came stays', async () => {
    const element = new FakeElement();
    const error: unknown = await show(fromCall(fakeCall([text('a')])), element).catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(InterruptedError);
    expect(error).toMatchObject({ receipt: { outcome: 'interrupted', chars: 1, where: 'element' } });
    expect(element.textContent).toBe('a');
  });

  it('that was stopped on purpose completes', async () => {
    const stop = new Subject<void>();
    const events = new Subject<StreamEvent>();
    const element = new FakeElement();
    const told = show(fromCall(fakeCall(events)).pipe(stopOn(stop)), element);
    events.next(text('a'));
    stop.next();
    expect(await told).toMatchObject({ outcome: 'stopped', by: 'notifier', chars: 1 });
    expect(element.textContent).toBe('a');
  });

  it('whose page is left is stopped by its reader, and what came stays', async () => {
    const element = new FakeElement();
    const listened = vi.spyOn(element.page, 'addEventListener');
    const forgotten = vi.spyOn(element.page, 'removeEventListener');
    const events = new Subject<StreamEvent>();
    const told = show(fromCall(fakeCall(events)), element);
    events.next(text('half'));
    element.page.dispatchEvent(new Event('pagehide'));
    expect(events.observed).toBe(false);
    expect(element.textContent).toBe('half');
    expect(await told).toMatchObject({ outcome: 'stopped', by: 'reader', chars: 4, billing: 'ended' });
    expect(forgotten.mock.calls).toEqual(listened.mock.calls);
    expect(element.attributes.get('aria-busy')).toBe('false');
  });

  it.each([undefined, 'a word'])('that fails with %s is not taken for a success', async (thrown) => {
    const told = show(
      throwError(() => thrown),
      new FakeElement(),
    );
    await expect(told).rejects.toBe(thrown);
  });

  it('is known by its flow', async () => {
    const source = fromCall(fakeCall([text('a'), finish], { provider: 'mill', model: 'wheel' }));
    expect(await show(source, new FakeElement())).toMatchObject({
      provider: 'mill',
      model: 'wheel',
      finish: { reason: 'stop' },
      attempts: 1,
      billing: 'ended',
    });
  });
});

describe('an element', () => {
  it('gives room at the first text, or keeps what it has', async () => {
    const [replaced, kept] = [new FakeElement(), new FakeElement()];
    replaced.append('Waiting');
    kept.append('You: hi. ');
    const source = new Subject<string>();
    const all = Promise.all([
      show(source, replaced, { maxWaitingChars: 1 }),
      show(source, kept, { maxWaitingChars: 1, append: true }),
    ]);
    source.next('');
    expect(replaced.textContent).toBe('Waiting');
    source.next('Hello');
    source.next('!');
    source.complete();
    await all;
    expect(replaced.textContent).toBe('Hello!');
    expect(kept.textContent).toBe('You: hi. Hello!');
  });

  it('gets the first output only, or the one that is asked for; each answer has its own', async () => {
    const events = [text('no', { index: 1, alternative: true }), text('zero'), text('other', { name: 'other' })];
    const shown = async (source: Observable<StreamEvent>, options?: ToElementOptions): Promise<string> => {
      const element = new FakeElement();
      await show(source, element, options);
      return element.textContent;
    };
    expect(await shown(answer(...events))).toBe('zero');
    expect(await shown(answer(...events), { index: 1 })).toBe('no');
    expect(await shown(answer(...events), { name: 'other' })).toBe('other');
    expect(await shown(concat(answer(text('one ')), answer(text('two', { name: 'reply' }))))).toBe('one two');
  });

  it('gets no thinking, unless it is the one for it', async () => {
    const [shown, thoughts] = [new FakeElement(), new FakeElement()];
    thoughts.append('Thinking');
    const events = [thinking('mm'), text('a'), thinking('\ud83d'), thinking('\udc0e'), text('b')];
    const told = await show(answer(...events), shown, { thinking: thoughts });
    expect([shown.textContent, thoughts.textContent]).toEqual(['ab', 'mm🐎']);
    expect(told).toMatchObject({ chars: 2, bytes: 8 });
    expect(thoughts.attributes.size).toBe(0);
    await show(answer(...events), shown);
    expect(shown.textContent).toBe('ab');
  });

  it('and the one for its thinking wait for a frame together', () => {
    const [shown, thoughts] = [new FakeElement(), new FakeElement()];
    const source = new Subject<StreamEvent>();
    source.pipe(toElement(shown, { thinking: thoughts, maxWaitingChars: 4 })).subscribe();
    for (const event of [thinking('12'), text('3')]) source.next(event);
    expect(shown.textContent + thoughts.textContent).toBe('');
    source.next(text('4'));
    expect(shown.textContent + thoughts.textContent).toBe('3412');
  });

  it('that refuses text is a SinkError with the receipt, and the source is stopped', async () => {
    const element = new FakeElement();
    const source = new Subject<string>();
    const refused = new Error('this page takes no more');
    const told = show(source, element, { maxWaitingChars: 1 });
    source.next('a');
    const changed = vi.fn(() => {
      throw refused;
    });
    element.onChange = changed;
    source.next('b');
    expect(source.observed).toBe(false);
    expect(changed).toHaveBeenCalledTimes(1); // and is not tried again
    const error: unknown = await told.catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(SinkError);
    expect(error).toMatchObject({ cause: refused, receipt: { outcome: 'failed', error: { code: 'ERR_SINK' } } });
    expect((error as Error).message).toBe('<p> took no text: this page takes no more');
    expect(element.attributes.get('aria-busy')).toBe('false');
  });

  it('that refuses text in a frame is a SinkError too', async () => {
    const element = new FakeElement();
    element.onChange = (): void => {
      throw new Error('no');
    };
    const source = merge(of('a'), NEVER);
    await expect(show(source, element)).rejects.toThrow(SinkError);
  });

  it('that refuses the last text of a stream that failed is a warning, and the first error counts', async () => {
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
    const element = new FakeElement();
    element.onChange = (): void => {
      throw new Error('no');
    };
    const first = new ProviderError('ill', { retryable: false });
    const source = concat(
      of('a'),
      throwError(() => first),
    );
    await expect(show(source, element)).rejects.toBe(first);
    expect(warned.mock.calls.map(([warning]) => String(warning)).join()).toContain('<p> took no text: no');
    warned.mockRestore();
  });

  it('may lose its text to somebody else, and gets the rest', () => {
    const element = new FakeElement();
    const source = new Subject<string>();
    source.pipe(toElement(element, { maxWaitingChars: 1 })).subscribe();
    source.next('lost');
    element.replaceChildren('A note. ');
    source.next('a');
    source.next('b');
    expect(element.childNodes.map(({ data }) => data)).toEqual(['A note. ', 'ab']);
  });

  it.each([
    ['a selector', '#answer', '"#answer"'],
    ['nothing', null, 'null'],
    ['undefined', undefined, 'undefined'],
    ['a text node', new FakeText('a'), 'object'],
    ['an attribute', { nodeType: 2, localName: 'id', append: (): void => undefined }, 'object'],
    ['a document', { nodeType: 9, append: (): void => undefined }, 'object'],
  ])('that is %s is refused at once', (_, value, got) => {
    const notOne = value as unknown as PageElement;
    expect(() => toElement(notOne)).toThrow(new TypeError(`element must be an Element of a page, got ${got}`));
    if (value === undefined) return;
    const thoughts = (): unknown => toElement(new FakeElement(), { thinking: notOne });
    expect(thoughts).toThrow(new TypeError(`thinking must be an Element of a page, got ${got}`));
  });

  it('is refused for text and thinking together', () => {
    const element = new FakeElement();
    expect(() => toElement(element, { thinking: element })).toThrow(TypeError);
  });

  it.each(['script', 'style'])('that is a <%s> is refused: its text is a program', (name) => {
    expect(() => toElement(new FakeElement(name))).toThrow(TypeError);
    expect(() => toElement(new FakeElement(), { thinking: new FakeElement(name) })).toThrow(`<${name}>`);
  });

  it('is refused with a limit out of its range', () => {
    const element = new FakeElement();
    expect(() => toElement(element, { maxWaitMs: 0 })).toThrow(RangeError);
    expect(() => toElement(element, { maxWaitMs: 2 ** 31 })).toThrow(RangeError);
    expect(() => toElement(element, { maxWaitingChars: 0 })).toThrow(RangeError);
    expect(() => toElement(element, { maxWaitingChars: 1.5 })).toThrow(RangeError);
    expect(() => toElement(element, { append: 'yes' as never })).toThrow(TypeError);
  });
});

describe('a character', () => {
  it(
    'cut in two is written when its other half is there',
    frames(({ animate, cold, expectObservable }) => {
      const element = new FakeElement();
      animate('              -x-x-x-x');
      const source = cold('  a-b---c|', { a: 'a\ud83d', b: '\udc0e\ud83d', c: '!' });
      const shown = '        -x-y--- z'.replace(' ', '');
      expectObservable(changesOf(element)).toBe(shown, { x: 'a', y: 'a🐎', z: 'a🐎\ud83d!' });
      expectObservable(
        source.pipe(
          toElement(element, onFrames),
          map(({ bytes }) => bytes),
        ),
      ).toBe('-------(9|)', {
        9: 9,
      });
    }),
  );

  it('may stay half', async () => {
    const element = new FakeElement();
    expect(await show(of('a\ud83d'), element)).toMatchObject({ chars: 2 });
    expect(element.textContent).toBe('a\ud83d');
  });

  it('is not made of the halves of two answers', async () => {
    const element = new FakeElement();
    await show(concat(answer(text('a\ud83d')), answer(text('\udc0eb'))), element, { maxWaitingChars: 1 });
    expect(element.textContent).toBe('a\ud83d\udc0eb');
  });
});

describe('a restart', () => {
  const written = { maxWaitingChars: 1 };

  it('takes back what was shown of the answer', async () => {
    const [element, thoughts] = [new FakeElement(), new FakeElement()];
    element.append('You: hi. ');
    const shown: string[] = [];
    element.onChange = (): void => {
      shown.push(element.textContent);
    };
    const events = [thinking('mm'), text('half'), restart, thinking('hm'), text('whole', { name: 'other' })];
    const told = await show(answer(...events), element, { ...written, append: true, thinking: thoughts });
    expect(shown).toEqual(['You: hi. half', 'You: hi. ', 'You: hi. whole']);
    expect(thoughts.textContent).toBe('hm');
    expect(told).toMatchObject({ chars: 5, bytes: 7, restarts: 1, outcome: 'complete' });
  });

  it('takes back what is waiting', async () => {
    const element = new FakeElement();
    element.append('Waiting');
    const shown: string[] = [];
    element.onChange = (): void => {
      shown.push(element.textContent);
    };
    expect(await show(answer(text('half\ud83d'), restart, text('whole')), element)).toMatchObject({
      chars: 5,
      bytes: 5,
    });
    expect(shown).toEqual(['whole']);
  });

  it('of the second answer leaves the first, written or not', async () => {
    for (const options of [written, {}]) {
      const element = new FakeElement();
      const source = concat(
        answer(text('one. ')),
        answer(text('half'), restart, text('two.')),
        answer(text(' three.')),
      );
      expect(await show(source, element, options)).toMatchObject({ chars: 16, bytes: 16 });
      expect(element.textContent).toBe('one. two. three.');
    }
  });

  it('of the second answer leaves the first, written in part and waiting in part', async () => {
    const element = new FakeElement();
    const first = [text('1234'), text('5')];
    const source = concat(answer(...first), answer(text('6'), restart, text('7')));
    expect(await show(source, element, { maxWaitingChars: 4 })).toMatchObject({ chars: 6, bytes: 6 });
    expect(element.textContent).toBe('123457');
  });

  it('of the second answer leaves a long first', async () => {
    const element = new FakeElement();
    const long = ' word'.repeat(2_000);
    const first = [text(long), text(long), text(long)];
    const source = concat(answer(...first), answer(text(' half'), text(long), restart, text(' whole')));
    await show(source, element, written);
    expect(element.textContent).toBe(`${long.repeat(3)} whole`);
  });

  it('may come when somebody else has changed the text', () => {
    const element = new FakeElement();
    const source = new Subject<StreamEvent>();
    const failed = vi.fn();
    source.pipe(toElement(element, written)).subscribe({ error: failed });
    for (const event of [text('one'), finish, text(' half')]) source.next(event);
    element.childNodes[0]!.data = 'o';
    source.next(restart);
    source.next(text(' two'));
    expect(element.textContent).toBe('o two');
    expect(failed).not.toHaveBeenCalled();
  });

  it('leaves what another stream wrote, and each keeps its place', () => {
    const element = new FakeElement();
    const [one, two] = [new Subject<StreamEvent>(), new Subject<StreamEvent>()];
    for (const source of [one, two]) source.pipe(toElement(element, { ...written, append: true })).subscribe();
    one.next(text('1a '));
    two.next(text('2a '));
    one.next(text('1b '));
    expect(element.textContent).toBe('1a 1b 2a ');
    one.next(restart);
    expect(element.textContent).toBe('2a ');
    two.next(text('2b '));
    one.next(text('1c '));
    expect(element.textContent).toBe('1c 2a 2b ');
  });

  it('takes all of a long answer back, from every node', () => {
    const element = new FakeElement();
    const source = new Subject<StreamEvent>();
    source.pipe(toElement(element, written)).subscribe();
    for (let sent = 0; sent < 10; sent += 1) source.next(text(' word'.repeat(2_000)));
    expect(element.childNodes.length).toBeGreaterThan(5);
    source.next(restart);
    expect(element.textContent).toBe('');
    source.next(text('anew'));
    expect(element.textContent).toBe('anew');
    expect(element.childNodes).toHaveLength(1);
  });
});

it('is placed before the stream that came after it, however long it is', () => {
  const element = new FakeElement();
  const [one, two] = [new Subject<string>(), new Subject<string>()];
  for (const source of [one, two]) source.pipe(toElement(element, { maxWaitingChars: 1, append: true })).subscribe();
  const long = ' one'.repeat(3_000);
  one.next(long);
  two.next('two');
  one.next(long);
  expect(element.textContent).toBe(`${long}${long}two`);
});

describe('for screen readers an element', () => {
  const ariaOf = (element: FakeElement): string =>
    ['aria-live', 'aria-busy'].map((name) => element.attributes.get(name) ?? '-').join(' ');

  it('is polite, and busy until its text is there', () => {
    const element = new FakeElement();
    const source = new Subject<string>();
    const told: string[] = [];
    source.pipe(toElement(element)).subscribe(() => told.push(`${ariaOf(element)} ${element.textContent}`));
    expect(ariaOf(element)).toBe('polite true');
    source.next('a');
    expect(ariaOf(element)).toBe('polite true');
    source.complete();
    expect(told).toEqual(['polite false a']);
  });

  it('is not busy when its stream was left or failed', async () => {
    const element = new FakeElement();
    NEVER.pipe(toElement(element)).subscribe().unsubscribe();
    expect(ariaOf(element)).toBe('polite false');
    await show(
      throwError(() => new Error('ill')),
      element,
    ).catch(() => undefined);
    expect(ariaOf(element)).toBe('polite false');
  });

  it('is busy as long as one of its streams writes', () => {
    const element = new FakeElement();
    const [one, two] = [new Subject<string>(), new Subject<string>()];
    for (const source of [one, two]) source.pipe(toElement(element, { append: true })).subscribe();
    one.complete();
    expect(ariaOf(element)).toBe('polite true');
    two.complete();
    expect(ariaOf(element)).toBe('polite false');
  });

  it.each<[string, Record<string, string>, string]>([
    ['is live', { 'aria-live': 'assertive' }, 'assertive true'],
    ['is not to be announced', { 'aria-live': 'off' }, 'off true'],
    ['is a log', { role: 'log' }, '- true'],
    ['is a status by its second role', { role: 'doc-tip status' }, '- true'],
    ['is busy for another reason', { 'aria-busy': 'true' }, 'polite true'],
    ['is told by the page when it is not', { 'aria-busy': 'false' }, 'polite false'],
  ])('that %s by its author stays so', (_, attributes, during) => {
    const element = new FakeElement('p', attributes);
    const source = new Subject<string>();
    source.pipe(toElement(element)).subscribe();
    source.next('a');
    expect(ariaOf(element)).toBe(during);
    source.complete();
    expect(ariaOf(element)).toBe('aria-busy' in attributes ? during : during.replace('true', 'false'));
    for (const [name, value] of Object.entries(attributes)) expect(element.attributes.get(name)).toBe(value);
  });

  it.each([
    ['a log', new FakeElement('section', { role: 'log' })],
    ['an <output>', new FakeElement('output')],
    ['what is not to be announced', new FakeElement('section', { 'aria-live': 'off' })],
  ])('in %s is announced by it alone', async (_, around) => {
    const element = new FakeElement('p', {}, new FakeElement('div', {}, around));
    await show(of('a'), element);
    expect(ariaOf(element)).toBe('- false');
    const apart = new FakeElement('p', {}, new FakeElement('div'));
    await show(of('a'), apart);
    expect(ariaOf(apart)).toBe('polite false');
  });
});

describe('a long answer', () => {
  it('of 100,000 tokens has few text nodes, cut between words', async () => {
    const element = new FakeElement();
    const source = range(0, 100_000).pipe(map((n) => ` t${String(n)}`));
    const told = await show(source, element, { maxWaitingChars: 40 });
    expect(told.chars).toBe(element.textContent.length);
    expect(element.childNodes.length).toBeLessThan(told.chars / 8_192 + 1);
    for (const { data } of element.childNodes) expect(data).toMatch(/^ t\d+( t\d+)*$/);
  });

  it('without any space has few text nodes, and none without end', async () => {
    const element = new FakeElement();
    await show(range(0, 100_000).pipe(map(() => '無限')), element, { maxWaitingChars: 40 });
    expect(element.textContent).toBe('無限'.repeat(100_000));
    expect(element.childNodes.length).toBeLessThan(10);
    expect(Math.max(...element.childNodes.map(({ length }) => length))).toBeLessThan(33_000);
  });
});

type Move = { readonly text: string } | 'frame' | 'restart' | 'finish';

it('shows the same text however it is cut, whenever frames come, and whatever is taken back', () => {
  const move: fc.Arbitrary<Move> = fc.oneof(
    { weight: 6, arbitrary: fc.record({ text: fc.string({ unit: 'binary', maxLength: 6 }) }) },
    { weight: 1, arbitrary: fc.record({ text: fc.constant(' long words'.repeat(900)) }) },
    { weight: 3, arbitrary: fc.constantFrom<Move[]>('frame', 'restart', 'finish') },
  );
  fc.assert(
    fc.property(fc.array(move, { maxLength: 40 }), fc.integer({ min: 1, max: 50 }), (moves, maxWaitingChars) => {
      const element = new FakeElement();
      const scheduler = new VirtualTimeScheduler();
      const source = new Subject<StreamEvent>();
      let told: Receipt | undefined;
      source.pipe(toElement(element, { scheduler, maxWaitingChars })).subscribe((one) => (told = one));
      let [before, now] = ['', ''];
      for (const next of moves) {
        if (next === 'frame') {
          scheduler.flush();
          expect((before + now).startsWith(element.textContent)).toBe(true);
          expect((before + now).length - element.textContent.length).toBeLessThanOrEqual(1);
        } else if (next === 'restart') {
          source.next(restart);
          now = '';
        } else if (next === 'finish') {
          source.next(finish);
          before += now;
          now = '';
        } else {
          source.next(text(next.text));
          now += next.text;
        }
        expect((before + now).length - element.textContent.length).toBeLessThanOrEqual(maxWaitingChars);
      }
      source.complete();
      expect(element.textContent).toBe(before + now);
      expect(told).toMatchObject({ chars: before.length + now.length, outcome: 'complete' });
      expect(element.childNodes.length).toBeLessThanOrEqual(1 + element.textContent.length / 8_192);
    }),
    { numRuns: 300 },
  );
});
