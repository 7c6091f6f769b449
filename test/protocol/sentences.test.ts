import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createSentences, type SentencesOptions } from '../../src/protocol/sentences.js';
import { sentenceTexts } from '../fixtures/sentences.js';

const defaults: SentencesOptions = { locales: ['en'], abbreviations: [], code: 'whole', maxChars: 16_384 };

/** The pieces of a text that comes in the given chunks. */
function divide(chunks: readonly string[], options: Partial<SentencesOptions> = {}): string[] {
  const sentences = createSentences({ ...defaults, ...options })();
  return [...chunks.flatMap((chunk) => sentences.push(chunk)), ...sentences.end()];
}

function cutAt(text: string, offsets: readonly number[]): string[] {
  const places = [...offsets.map((offset) => offset % (text.length + 1)), 0, text.length].sort((a, b) => a - b);
  return places.slice(1).map((end, index) => text.slice(places[index], end));
}

/** Single code units, so that surrogate pairs are torn apart. */
const units = (text: string): string[] => text.split('');

/** Splits after a stop and a space, as much code does. */
function naive(text: string): string[] {
  return text.match(/.*?(?:[.!?]\s|$)/gsu)?.filter((piece) => piece !== '') ?? [];
}

/** Text made of what matters to the rules, and of anything. */
const troublesome = fc
  .array(
    fc.oneof(
      {
        weight: 6,
        arbitrary: fc.constantFrom(
          ...'. . ? ! … 。 ！ । ؟ ; \n \n\n \r\n " “ ” „ « » 「 」 ( ) [ ] ` ``` ~~~ * ** _ - # > | 1 1. 3.14'.split(
            ' ',
          ),
          ' ',
          ' ',
          '\n',
        ),
      },
      {
        weight: 4,
        arbitrary: fc.constantFrom(
          'Dr',
          'e.g.',
          'U.S.',
          'z. B.',
          'word',
          'Word',
          'The',
          'J',
          'i',
          'iPhone',
          '# ',
          '- ',
          '> ',
          '| ',
          '[1]',
          '](x.y/z.)',
          'http://a.b/c?d=e',
          'ครับ',
          'และ',
          'ดี',
          'Τι',
          '好',
          'と',
          'は',
          '네',
          '라고',
          'है',
        ),
      },
      {
        weight: 2,
        arbitrary: fc.constantFrom(
          '👩‍🚀',
          '🇩🇪',
          '👍🏽',
          'é',
          '\u0301',
          '\u200d',
          '\ufe0f',
          '\ud83d',
          '\ude00',
          '\u0e33',
          '\u2028',
          '\u00a0',
          '한',
          '\u1112\u1161\u11ab',
        ),
      },
      { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 6 }) },
    ),
    { maxLength: 60 },
  )
  .map((parts) => parts.join(''));

describe('the sentences of the corpus', () => {
  it.each(sentenceTexts)('are found in $language however the text is cut', ({ locale, sentences }) => {
    const text = sentences.join('');
    const locales = [locale];
    expect(divide([text], { locales })).toStrictEqual(sentences);
    expect(divide(units(text), { locales })).toStrictEqual(sentences);
    fc.assert(
      fc.property(fc.array(fc.nat(), { maxLength: 40 }), (offsets) => {
        expect(divide(cutAt(text, offsets), { locales })).toStrictEqual(sentences);
      }),
      { numRuns: 100 },
    );
  });

  it('come sooner or truer than from splitting after stops', () => {
    const rows = sentenceTexts.map(({ language, locale, sentences }) => {
      const text = sentences.join('');
      const ends = new Set<number>();
      for (const sentence of sentences) ends.add([...ends].reduce((a, b) => Math.max(a, b), 0) + sentence.length);
      /** How far a method is: for each piece, where it ends and when it came. */
      const measure = (pieces: readonly { end: number; at: number }[]) => {
        const right = pieces.filter(({ end }) => ends.has(end));
        const late = right
          .filter(({ end }) => end < text.length)
          .map(({ end, at }) => at - text.slice(0, end).trimEnd().length);
        const mean = late.reduce((sum, chars) => sum + chars, 0) / Math.max(1, late.length);
        return {
          right: right.length,
          wrong: pieces.length - right.length,
          mean,
          max: Math.max(0, ...late),
          first: right[0]?.at ?? NaN,
        };
      };
      const ours: { end: number; at: number }[] = [];
      const engine = createSentences({ ...defaults, locales: [locale] })();
      let end = 0;
      units(text).forEach((unit, index) => {
        for (const piece of engine.push(unit)) ours.push({ end: (end += piece.length), at: index + 1 });
      });
      for (const piece of engine.end()) ours.push({ end: (end += piece.length), at: text.length });
      end = 0;
      const theirs = naive(text).map((piece) => ({ end: (end += piece.length), at: end }));
      // The segmenter on what has come so far, believed about every end but the last.
      const bare: { end: number; at: number }[] = [];
      const segmenter = new Intl.Segmenter(locale, { granularity: 'sentence' });
      for (let at = 1, from = 0; at <= text.length; at++) {
        const found = [...segmenter.segment(text.slice(from, at))];
        for (const { segment } of at === text.length ? found : found.slice(0, -1))
          bare.push({ end: (from += segment.length), at });
      }
      return {
        language,
        sentences: sentences.length,
        ours: measure(ours),
        bare: measure(bare),
        naive: measure(theirs),
      };
    });
    const cell = ({ right, wrong, mean, max, first }: (typeof rows)[number]['ours']): string =>
      `${String(right).padStart(5)}${String(wrong).padStart(6)}${mean.toFixed(1).padStart(6)}${String(max).padStart(5)}${String(first).padStart(6)}`;
    const table = rows.map(
      (row) =>
        `${row.language.padEnd(11)}${String(row.sentences).padStart(3)} |${cell(row.ours)} |${cell(row.bare)} |${cell(row.naive)}`,
    );
    const head = ' right wrong  mean  max first';
    const legend =
      '(ours | Intl.Segmenter | /[.!?]\\s/; mean, max: characters past the end of a right one; first: to the first right one)';
    console.log([`sentences       |${head}|${head}|${head}`, ...table, legend].join('\n'));
    for (const { sentences, ours, naive: split, bare: segmented } of rows) {
      expect(ours).toMatchObject({ right: sentences, wrong: 0 });
      expect(ours.wrong).toBeLessThanOrEqual(Math.min(split.wrong, segmented.wrong));
      expect(ours.mean).toBeLessThanOrEqual(4);
    }
  });
});

describe('any text', () => {
  it('is given back whole and in order, however it is cut, and whatever the limit', () => {
    fc.assert(
      fc.property(
        troublesome,
        fc.array(fc.nat()),
        fc.constantFrom(1, 2, 5, 20, 16_384),
        fc.constantFrom<'whole' | 'lines'>('whole', 'lines'),
        (text, offsets, maxChars, code) => {
          const whole = divide([text], { maxChars, code });
          expect(whole.join('')).toBe(text);
          expect(divide(units(text), { maxChars, code })).toStrictEqual(whole);
          expect(divide(cutAt(text, offsets), { maxChars, code })).toStrictEqual(whole);
          for (const piece of whole) expect(piece.length).toBeLessThanOrEqual(maxChars + 64);
        },
      ),
      { numRuns: 1_500 },
    );
  });

  it('is divided alike also where it is long', () => {
    const filler = fc
      .tuple(fc.constantFrom('word ', 'a', 'One. ', 'ก ', '> ', '- Item\n', '```\nx\n', 'é.'), fc.nat({ max: 1_500 }))
      .map(([unit, length]) => unit.repeat(Math.ceil(length / unit.length)));
    fc.assert(
      fc.property(
        fc.array(fc.tuple(troublesome, filler), { minLength: 1, maxLength: 3 }),
        fc.array(fc.nat(), { maxLength: 20 }),
        fc.constantFrom(300, 1_200, 16_384, Infinity),
        (parts, offsets, maxChars) => {
          const text = parts.flat().join('');
          const whole = divide([text], { maxChars });
          expect(whole.join('')).toBe(text);
          expect(divide(units(text), { maxChars })).toStrictEqual(whole);
          expect(divide(cutAt(text, offsets), { maxChars })).toStrictEqual(whole);
        },
      ),
      { numRuns: 100 },
    );
  });

  it('is never cut inside a grapheme cluster', () => {
    const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });
    fc.assert(
      fc.property(troublesome, fc.constantFrom(1, 3, 8, 16_384), (text, maxChars) => {
        const places = new Set([...graphemes.segment(text)].map(({ index }) => index));
        let end = 0;
        for (const piece of divide(units(text), { maxChars }).slice(0, -1)) {
          end += piece.length;
          expect(places).toContain(end);
        }
      }),
      { numRuns: 1_500 },
    );
  });

  it('is not cut between a note and a mark that belongs to its bracket', () => {
    expect(divide(['1।[1]ำ'], { maxChars: 1 }).join('|')).not.toContain(']|ำ');
  });

  it('gives no piece of space alone but the last', () => {
    fc.assert(
      fc.property(troublesome, (text) => {
        for (const piece of divide([text]).slice(0, -1)) expect(piece.trim()).not.toBe('');
      }),
    );
  });

  it('keeps its sentence ends when pieces are flushed early, but for those that were not certain yet', () => {
    fc.assert(
      fc.property(troublesome, fc.array(fc.nat(), { maxLength: 20 }), (text, flushes) => {
        const sentences = createSentences(defaults)();
        const flushed: { readonly from: number; readonly to: number }[] = [];
        let given = 0;
        const pieces: string[] = [];
        const take = (list: readonly string[], isFlush: boolean): void => {
          for (const piece of list) {
            if (isFlush) flushed.push({ from: given, to: given + piece.length });
            given += piece.length;
            pieces.push(piece);
          }
        };
        for (const [index, unit] of [...units(text).entries()]) {
          take(sentences.push(unit), false);
          if (flushes.some((at) => at % (text.length + 1) === index)) take(sentences.flush(), true);
        }
        take(sentences.end(), false);
        expect(pieces.join('')).toBe(text);
        // A flush may take the end of a sentence without the space after it.
        const ends = (list: readonly string[]): number[] => {
          let joined = '';
          return list.map((piece) => (joined += piece).trimEnd().length);
        };
        const kept = new Set(ends(pieces));
        const moved = ends(divide([text])).filter((end) => !kept.has(end));
        for (const end of moved) expect(flushed.some(({ from, to }) => from < end && end <= to)).toBe(true);
      }),
      { numRuns: 1_000 },
    );
  });
});

describe('what is certain', () => {
  it.each([
    ['a sentence once the next word has begun', 'It rained. We', 'It rained. '.length + 1],
    ['a Chinese one once the next character has come', '下雨了。我们', 5],
    ['a paragraph at its blank line', 'It rained etc.\n\nWe', 16],
    ['a heading once the next line has begun', '# Rain\nWe', 8],
    ['what an initial may end once the next word is known', 'It was plan B. Then we', 20],
  ])('is %s', (_, text, chars) => {
    const sentences = createSentences(defaults)();
    const at = units(text).findIndex((unit) => sentences.push(unit).length > 0);
    expect(at + 1).toBe(chars);
  });

  it.each([
    'Ask Dr. Who',
    'It costs 3.14 euros',
    'See e.g. this',
    'Yes! he said',
    '“No?” she asked',
    'well... then',
    'Mail a.b@c.de now',
    'He runs .NET and node.js today',
    'At J. R. R. Tolkien’s',
    'Type `a. B` here',
    'See [one. Two](x.y/z. "A. B") here',
    'The U.S. Senate',
    'Wait . . . what',
    'am 3. Mai war',
    'Steps: 1. Go',
  ])('is not that %j holds two sentences', (text) => {
    expect(divide(units(text))).toStrictEqual([text]);
  });

  it.each([
    ['I love it. iPhone sales rose.', ['I love it. ', 'iPhone sales rose.']],
    ['Use it. .NET is fine.', ['Use it. ', '.NET is fine.']],
    ['He left.“ Then she.', ['He left.“ ', 'Then she.']],
    ['One.[1] Two.¹ Three.[^note] Four.', ['One.[1] ', 'Two.¹ ', 'Three.[^note] ', 'Four.']],
    ['**One.** _Two._ ~~Three.~~ Four.', ['**One.** ', '_Two._ ', '~~Three.~~ ', 'Four.']],
    ['See [the docs.](x.y) Then go.', ['See [the docs.](x.y) ', 'Then go.']],
    ['Yes!🎉 Next! 🎉 Last.', ['Yes!🎉 ', 'Next! ', '🎉 Last.']],
    ['Section IV. The end. No. I mean it.', ['Section IV. ', 'The end. ', 'No. ', 'I mean it.']],
    ['他走了。“你好。”', ['他走了。', '“你好。”']],
    ['他说"好。"我走。', ['他说"好。"', '我走。']],
    ['An open [bracket. Then\nmore. Still.', ['An open [bracket. Then\nmore. ', 'Still.']],
    ['A stray ` tick. Then\nmore. Still.', ['A stray ` tick. Then\nmore. ', 'Still.']],
    ['It is 3.5 m. Dr. No sank it in 44 v. Chr. Rom.', ['It is 3.5 m. ', 'Dr. No sank it in 44 v. Chr. Rom.']],
    ['Q. What? A. That. It was 5 p.m. He left.', ['Q. What? ', 'A. That. ', 'It was 5 p.m. ', 'He left.']],
    ['Hello...World? Was it x@b.c? OK! 好!我们走。', ['Hello...World? ', 'Was it x@b.c? ', 'OK! ', '好!', '我们走。']],
    ['Der 1. FC Köln. 3. Mai. Wait . . . Then', ['Der 1. FC Köln. ', '3. Mai. ', 'Wait . . . ', 'Then']],
    ['Title\n=====\n\nText\nMore\nand more', ['Title\n=====\n\n', 'Text\n', 'More\nand more']],
    ['»Komm!« Er ging. »Nein.« Gut.', ['»Komm!« ', 'Er ging. ', '»Nein.« ', 'Gut.']],
    ['\n\n  One.\n\n\nTwo.\n', ['\n\n  One.\n\n', '\nTwo.\n']],
    ['One.\r\n\r\nTwo\r\n\r\n', ['One.\r\n\r\n', 'Two\r\n\r\n']],
  ])('is how %j is divided', (text, pieces) => {
    expect(divide(units(text))).toStrictEqual(pieces);
  });

  it('does not wait for ever for the end of a run of closers or of space', () => {
    const text = `One.${'*'.repeat(1_000)} two. ${' '.repeat(1_000)}Three. Four`;
    expect(divide(units(text))).toStrictEqual(divide([text]));
    expect(divide([text]).at(-1)).toBe('Four');
  });
});

describe('the language at hand', () => {
  it('tells ordinals from numbers', () => {
    const text = 'Er wurde 3. Platz war gut.';
    expect(divide([text])).toStrictEqual(['Er wurde 3. ', 'Platz war gut.']);
    expect(divide([text], { locales: ['de-AT'] })).toStrictEqual([text]);
  });

  it('has abbreviations that are words elsewhere', () => {
    const text = 'Siehe Art. Fünf.';
    expect(divide([text])).toHaveLength(2);
    expect(divide([text], { locales: ['de'] })).toStrictEqual([text]);
  });

  it('has abbreviations of the caller’s, of one part or several', () => {
    const text = 'Das Amt, z. Hd. Frau Abt. Drei, schreibt.';
    expect(divide([text])).toHaveLength(3);
    expect(divide([text], { abbreviations: ['z. Hd.', 'ABT'] })).toStrictEqual([text]);
  });
});

describe('fenced code', () => {
  const text = 'Do:\n```ts\nconst a = 1. \n\n// One. Two.\n```\nDone.\n\n~~~\n```\n~~~\n';

  it('is one piece', () => {
    expect(divide(units(text))).toStrictEqual([
      'Do:\n',
      '```ts\nconst a = 1. \n\n// One. Two.\n```\n',
      'Done.\n\n',
      '~~~\n```\n~~~\n',
    ]);
  });

  it('is given line by line when asked for, each line at its end', () => {
    const sentences = createSentences({ ...defaults, code: 'lines' })();
    expect(sentences.push(text)).toStrictEqual([
      'Do:\n',
      '```ts\n',
      'const a = 1. \n',
      '\n',
      '// One. Two.\n',
      '```\n',
      'Done.\n\n',
      '~~~\n',
      '```\n',
    ]);
    expect(sentences.end()).toStrictEqual(['~~~\n']);
  });

  it('is not flushed as one piece, and is as lines', () => {
    const whole = createSentences(defaults)();
    expect([...whole.push('```\nlet a = '), ...whole.flush()]).toStrictEqual([]);
    const lines = createSentences({ ...defaults, code: 'lines' })();
    expect([...lines.push('```\nlet a'), ...lines.flush()]).toStrictEqual(['```\n', 'let ']);
  });

  it('is cut at the end of a line when it is too long', () => {
    expect(divide(units('```\naaaa\nbbbb\ncccc\n```\n'), { maxChars: 12 })).toStrictEqual([
      '```\naaaa\n',
      'bbbb\ncccc\n',
      '```\n',
    ]);
  });
});

describe('a text without an end', () => {
  it.each([
    ['after a clause', 'aaaa bbbb, cccc dddd', 16, ['aaaa bbbb, ', 'cccc dddd']],
    ['else after a word', 'aaaa bbbb cccc dddd', 16, ['aaaa bbbb cccc ', 'dddd']],
    ['else between clusters', 'aaaa👩‍🚀bbbb', 6, ['aaaa', '👩‍🚀b', 'bbb']],
    ['between words that no space parts', '今天天气很好我们去公园', 7, ['今天天气很好', '我们去公园']],
    ['not at all when it fits', 'aaaa bbbb', 9, ['aaaa bbbb']],
    ['one past the limit', 'aaaa bbbbb', 9, ['aaaa ', 'bbbbb']],
  ])('is cut %s', (_, text, maxChars, pieces) => {
    expect(divide([text], { maxChars })).toStrictEqual(pieces);
    expect(divide(units(text), { maxChars })).toStrictEqual(pieces);
  });

  it('is held within its limit even where one cluster never ends', () => {
    const text = `a${'\u0301'.repeat(500)}`;
    const pieces = divide(units(text), { maxChars: 10 });
    expect(pieces.join('')).toBe(text);
    expect(Math.max(...pieces.map(({ length }) => length))).toBeLessThanOrEqual(10 + 64);
  });
});

describe('a flush', () => {
  it.each([
    ['takes whole words', 'It rains in Spa', ['It rains in ']],
    ['takes what a stop ends', 'It rains.', ['It rains.']],
    ['leaves one word', 'Spa', []],
    ['leaves space', ' ', []],
    ['leaves half a character', 'Yes \ud83d', ['Yes ']],
    ['leaves an emoji that may go on', 'Yes 👩', ['Yes ']],
    ['takes words that no space parts', '今天天气很', ['今天天气']],
  ])('%s', (_, text, pieces) => {
    const sentences = createSentences(defaults)();
    expect(sentences.push(text)).toStrictEqual([]);
    expect(sentences.flush()).toStrictEqual(pieces);
    expect([...pieces, ...sentences.end()].join('')).toBe(text);
  });

  it('leaves the space that comes after to the next sentence', () => {
    const sentences = createSentences(defaults)();
    expect([...sentences.push('One.'), ...sentences.flush(), ...sentences.push(' Two. Th')]).toStrictEqual([
      'One.',
      ' Two. ',
    ]);
    expect(sentences.isHolding).toBe(true);
    expect(sentences.end()).toStrictEqual(['Th']);
    expect(sentences.isHolding).toBe(false);
  });
});
