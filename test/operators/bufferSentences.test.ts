import fc from 'fast-check';
import { concat, from, NEVER, Observable, of, Subject, take, throwError, toArray } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { bufferSentences, type BufferSentencesOptions } from '../../src/operators/bufferSentences.js';
import type { StreamEvent } from '../../src/types.js';
import { sentenceTexts } from '../fixtures/sentences.js';
import { marbles } from '../support/marbles.js';

const strings = {
  a: 'It is 3',
  b: '.5 m. D',
  c: 'r. No s',
  d: 'ank. Go',
  w: 'Wait',
  s: ' a while',
  e: '.',
  h: '\ud83d',
};
const pieces = {
  x: 'It is 3.5 m. ',
  y: 'Dr. No sank. ',
  z: 'Go',
  W: 'Wait ',
  V: 'a while',
  U: 'Wait a while.',
  T: 'Wait',
};

function text(piece: string, index = 0, name = 'output'): StreamEvent {
  return { type: 'text', text: piece, index, name };
}

const thought = (piece: string, index = 0): StreamEvent => ({ type: 'thinking', text: piece, index, name: 'thinking' });
const other = (piece: string, index = 1): StreamEvent => ({
  type: 'text',
  text: piece,
  index,
  name: 'output',
  alternative: true,
});
const restart: StreamEvent = { type: 'restart', attempt: 2, because: 'connection lost', discard: { chars: 9 } };
const finish: StreamEvent = { type: 'finish', reason: 'stop' };

/** What comes of the events of a synchronous source. */
function through(events: readonly StreamEvent[], options?: BufferSentencesOptions): StreamEvent[] {
  let seen: StreamEvent[] = [];
  from(events)
    .pipe(bufferSentences(options), toArray())
    .subscribe((all) => {
      seen = all;
    });
  return seen;
}

describe('bufferSentences', () => {
  it(
    'stays silent while the source does',
    marbles((m) => {
      const source = m.cold(' -');
      const subs = '          ^';
      const expected = '      -';
      m.expect(source.pipe(bufferSentences())).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'completes with an empty source',
    marbles((m) => {
      const source = m.cold(' --|');
      const subs = '          ^-!';
      const expected = '      --|';
      m.expect(source.pipe(bufferSentences())).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'emits each sentence when the next word has begun, and the rest at the end',
    marbles((m) => {
      const source = m.cold(' -a-b-c--d-|   ', strings);
      const subs = '          ^---------!   ';
      const expected = '      ---x----y-(z|)';
      m.expect(source.pipe(bufferSentences())).toBeObservable(expected, pieces);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'emits what it holds before it passes an error on',
    marbles((m) => {
      const source = m.hot('  -w-#   ', strings);
      const subs = '          ^--!   ';
      const expected = '      ---(T#)';
      m.expect(source.pipe(bufferSentences())).toBeObservable(expected, pieces);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'drops what it holds, and its timer, when the subscriber leaves',
    marbles((m) => {
      const source = m.hot('  -w-s---|', strings);
      const subs = '          ^---!   ';
      const expected = '      -----   ';
      m.expect(source.pipe(bufferSentences({ maxWaitMs: 5 })), subs).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'holds for each subscriber apart',
    marbles((m) => {
      const source = m.hot('  -w-s-e-|   ', strings);
      const first = '         -------(U|)';
      const second = '        -------(V|)';
      const sentences = source.pipe(bufferSentences());
      m.expect(sentences).toBeObservable(first, pieces);
      m.expect(sentences, ' --^').toBeObservable(second, { V: ' a while.' });
      m.expect(source).toHaveSubscriptions(['^------!', '--^----!']);
    }),
  );

  it('stops a synchronous source', () => {
    let produced = 0;
    function* endless(): Generator<string> {
      for (;;) {
        produced += 1;
        yield 'One. Two. ';
      }
    }
    const seen: string[] = [];
    from(endless())
      .pipe(bufferSentences(), take(1))
      .subscribe({ next: (sentence) => seen.push(sentence), complete: () => seen.push('complete') });
    expect(seen).toStrictEqual(['One. ', 'complete']);
    expect(produced).toBe(1);
  });

  it('keeps the order when a subscriber feeds the source, or ends it, from inside next', () => {
    const source: Subject<string> = new Subject();
    const seen: string[] = [];
    source.pipe(bufferSentences()).subscribe({
      next: (sentence) => {
        seen.push(sentence);
        if (sentence !== 'One. ') return;
        source.next(' Four. Five');
        source.complete();
      },
      complete: () => seen.push('complete'),
    });
    source.next('One. Two. Three');
    expect(seen).toStrictEqual(['One. ', 'Two. ', 'Three Four. ', 'Five', 'complete']);
  });

  it('passes an error raised from inside next after what came before it', () => {
    const source: Subject<string> = new Subject();
    const seen: unknown[] = [];
    source.pipe(bufferSentences()).subscribe({
      next: (sentence) => {
        seen.push(sentence);
        if (sentence === 'One. ') source.error('lost');
      },
      error: (error: unknown) => seen.push(error),
    });
    source.next('One. Two. Three');
    expect(seen).toStrictEqual(['One. ', 'Two. ', 'Three', 'lost']);
  });

  it('gives the sentences of every language as strings', () => {
    for (const { locale, sentences } of sentenceTexts) {
      const seen: string[] = [];
      from(sentences.join('').split(''))
        .pipe(bufferSentences({ locale }))
        .subscribe((sentence) => seen.push(sentence));
      expect(seen).toStrictEqual(sentences);
    }
  });

  it('keeps every character of any pieces', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary' })), fc.integer({ min: 1, max: 30 }), (tokens, maxChars) => {
        let joined = '';
        from(tokens)
          .pipe(bufferSentences({ maxChars }))
          .subscribe((sentence) => (joined += sentence));
        expect(joined).toBe(tokens.join(''));
      }),
    );
  });

  it.each<[string, unknown, typeof RangeError | typeof TypeError, RegExp]>([
    ['maxChars below 1', { maxChars: 0 }, RangeError, /maxChars/],
    ['maxChars that is no number', { maxChars: NaN }, RangeError, /maxChars/],
    ['maxWaitMs below 0', { maxWaitMs: -1 }, RangeError, /maxWaitMs/],
    ['maxWaitMs beyond what a timer holds', { maxWaitMs: 2 ** 31 }, RangeError, /maxWaitMs/],
    ['code that is no word of its own', { code: 'none' }, TypeError, /code/],
    ['a locale that is none', { locale: '!' }, RangeError, /locale/i],
    ['abbreviations that are no texts', { abbreviations: [3] }, TypeError, /abbreviations/],
    ['a blank abbreviation', { abbreviations: [' '] }, TypeError, /abbreviations/],
    ['abbreviations that are no list', { abbreviations: 'etc' }, TypeError, /abbreviations/],
  ])('refuses %s when called', (_, options, error, message) => {
    // Wrong on purpose.
    expect(() => bufferSentences(options as BufferSentencesOptions)).toThrow(error);
    expect(() => bufferSentences(options as BufferSentencesOptions)).toThrow(message);
  });
});

describe('maxWaitMs', () => {
  it(
    'emits whole words when the time has passed, and a finished sentence whole',
    marbles((m) => {
      const source = m.hot('  -w-s------e------|', strings);
      const subs = '          ^----------------!';
      const expected = '      ------W--------X-|';
      m.expect(source.pipe(bufferSentences({ maxWaitMs: 5 }))).toBeObservable(expected, { W: 'Wait a ', X: 'while.' });
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'counts from the first character that is held, to the frame',
    marbles((m) => {
      const source = m.hot('  -ws--e-|   ', strings);
      const later = '         -----U-|   ';
      const sooner = '        ----W--(X|)';
      m.expect(source.pipe(bufferSentences({ maxWaitMs: 4 }))).toBeObservable(later, pieces);
      m.expect(source.pipe(bufferSentences({ maxWaitMs: 3 }))).toBeObservable(sooner, { W: 'Wait a ', X: 'while.' });
    }),
  );

  it(
    'begins anew with each sentence',
    marbles((m) => {
      const source = m.hot('  -a-b-c----d--|', { a: 'One. ', b: 'Two. ', c: 'Three ', d: 'four' });
      const expected = '      ---x-y---z---(w|)';
      m.expect(source.pipe(bufferSentences({ maxWaitMs: 4 }))).toBeObservable(expected, {
        x: 'One. ',
        y: 'Two. ',
        z: 'Three ',
        w: 'four',
      });
    }),
  );

  it(
    'leaves a word that may go on, however long',
    marbles((m) => {
      const source = m.hot('  -w---------|   ', strings);
      const expected = '      -----------(T|)';
      m.expect(source.pipe(bufferSentences({ maxWaitMs: 2 }))).toBeObservable(expected, pieces);
    }),
  );

  it(
    'runs for each output apart',
    marbles((m) => {
      const events = { a: text('One '), b: other('Two '), A: text('One '), B: other('Two ') };
      const source = m.hot('  -a-b------|', events);
      const expected = '      ----A-B---|';
      m.expect(source.pipe(bufferSentences({ maxWaitMs: 3 }))).toBeObservable(expected, events);
    }),
  );
});

describe('the events that bufferSentences regroups', () => {
  it('are text, thinking and refusals, each piece in the shape of its event', () => {
    const refusal: StreamEvent = { type: 'refusal', text: 'No. I', index: 0, name: 'output' };
    expect(through([thought('Hm. We'), thought('ll.'), text('Yes. S'), text('ir. '), refusal])).toStrictEqual([
      thought('Hm. '),
      thought('Well.'),
      text('Yes. '),
      text('Sir. '),
      { ...refusal, text: 'No. ' },
      { ...refusal, text: 'I' },
    ]);
  });

  it.each<StreamEvent>([
    { type: 'heartbeat', comment: '' },
    { type: 'usage', provenance: 'partial' },
    { type: 'status', status: 'running', terminal: false },
    { type: 'progress', current: 1 },
    { type: 'log', message: 'step' },
    { type: 'warning', code: 'frame-skipped', message: 'one' },
    { type: 'raw', frame: {} },
    { type: 'output', value: 'One tw', final: false },
  ])('are passed at once by $type, which ends no sentence', (event) => {
    expect(through([text('One t'), event, text('wo.'), finish])).toStrictEqual([event, text('One two.'), finish]);
  });

  it.each<StreamEvent>([
    { type: 'tool-call-delta', index: 0, id: 'c', name: 'look', argumentsDelta: '{' },
    { type: 'tool-call', index: 0, id: 'c', name: 'look', arguments: {}, argumentsText: '{}' },
    { type: 'media', kind: 'image', content: 'x', index: 1, name: 'picture' },
    { type: 'output', value: 'One t', final: true },
    { type: 'finish', reason: 'length' },
    thought('Hm.'),
    text('Another item.', 1),
    text('Another name.', 0, 'code'),
  ])('are ended by $type', (event) => {
    expect(through([text('One t'), event])).toStrictEqual([text('One t'), event]);
  });

  it('are kept apart where there are alternative answers', () => {
    const events = [text('One'), other('Un'), text('. Two'), other('. Deux'), text('.'), other('.'), finish];
    expect(through(events)).toStrictEqual([text('One. '), other('Un. '), text('Two.'), other('Deux.'), finish]);
  });

  it('are kept apart where outputs turn out to take turns', () => {
    const events = [text('An'), text('Be', 1), text('other. D'), text('low. F', 1), text('one.'), text('ox.', 1)];
    expect(through(events)).toStrictEqual([
      text('An'), // taken for ended
      text('other. '),
      text('Below. ', 1),
      text('Fox.', 1),
      text('Done.'),
    ]);
  });

  it('are void after a restart, which passes', () => {
    expect(through([text('One. Two'), restart, text('Three. Four'), finish])).toStrictEqual([
      text('One. '),
      restart,
      text('Three. '),
      text('Four'),
      finish,
    ]);
  });

  it(
    'are timed anew after a restart',
    marbles((m) => {
      const events = { a: text('One '), r: restart, b: text('Two '), f: finish };
      const source = m.hot('  -a-r-b-----|', events);
      const expected = '      ---r-----b-|';
      m.expect(source.pipe(bufferSentences({ maxWaitMs: 4 }))).toBeObservable(expected, events);
    }),
  );

  it('are given up waiting for where there are too many outputs', () => {
    const many = Array.from({ length: 65 }, (_, index) => other('Half', index));
    const seen: StreamEvent[] = [];
    concat(from(many), NEVER)
      .pipe(bufferSentences())
      .subscribe((event) => seen.push(event));
    expect(seen).toStrictEqual([other('Half', 0)]);
  });

  it('are emitted before an error', () => {
    const seen: unknown[] = [];
    concat(
      of(text('One'), thought('Two', 1)),
      throwError(() => 'lost'),
    )
      .pipe(bufferSentences())
      .subscribe({ next: (event) => seen.push(event), error: (error: unknown) => seen.push(error) });
    expect(seen).toStrictEqual([text('One'), thought('Two', 1), 'lost']);
  });

  it('stop when the subscriber leaves between two of one token', () => {
    let isLeft = false;
    const source = new Observable<StreamEvent>((subscriber) => {
      subscriber.next(text('One. Two. Three'));
      return () => {
        isLeft = true;
      };
    });
    const seen: StreamEvent[] = [];
    source.pipe(bufferSentences(), take(1)).subscribe((event) => seen.push(event));
    expect(seen).toStrictEqual([text('One. ')]);
    expect(isLeft).toBe(true);
  });
});
