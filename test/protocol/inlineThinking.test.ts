import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InlineThinking, type ThinkingTag, ThinkingTags } from '../../src/protocol/inlineThinking.js';

const named = (name: string): ThinkingTag => ({ open: `<${name}>`, close: `</${name}>` });

interface Piece {
  type: string;
  text: string;
}

/** What is said of pieces; what is held at the end is flushed. */
function said(pieces: readonly string[], tags?: readonly ThinkingTag[]): Piece[] {
  const reader = new InlineThinking(tags === undefined ? undefined : new ThinkingTags(tags));
  const list: Piece[] = [];
  const say = (type: string, text: string): void => {
    const before = list.at(-1);
    expect(text).not.toBe('');
    if (before?.type === type) before.text += text;
    else list.push({ type, text });
  };
  for (const piece of pieces) reader.push(piece, say);
  reader.flush(say);
  expect(reader.isHolding).toBe(false);
  return list;
}

/** Thinking in brackets. */
function shown(pieces: readonly string[], tags?: readonly ThinkingTag[]): string {
  return said(pieces, tags)
    .map(({ type, text }) => (type === 'thinking' ? `[${text}]` : text))
    .join('');
}

describe('InlineThinking', () => {
  it.each<[string, readonly ThinkingTag[] | undefined, string, string]>([
    ['reads <think> when told nothing', undefined, 'a<think>b</think>c<thinking>d', 'a[b]c<thinking>d'],
    ['leaves alone a tag that ends nothing', undefined, '</think>a<think>b<think>c</think>', '</think>a[b<think>c]'],
    ['means capitals', undefined, '<Think>a', '<Think>a'],
    ['reads another name', [named('reasoning')], '<reasoning>a</reasoning><think>', '[a]<think>'],
    [
      'ends thinking with the tag that began it',
      [named('think'), named('thinking')],
      'a<thinking>b</think><think></thinking>c<think>d</think></think>e',
      'a[b</think><think>]c[d]</think>e',
    ],
    ['reads any two texts', [{ open: '◁think▷', close: '◁/think▷' }], 'a◁think▷b◁/think▷c', 'a[b]c'],
    ['reads what means something in patterns', [{ open: '[T.+', close: '$)' }], '[Tx+[T.+b$)c', '[Tx+[b]c'],
    ['reads texts that repeat themselves', [{ open: 'aab', close: 'bba' }], 'aaabxbbbac', 'a[xb]c'],
    ['reads the same at both ends', [{ open: '**', close: '**' }], 'a**b**c***d', 'a[b]c[*d]'],
    ['reads single characters', [{ open: '{', close: '}' }], 'a{b}}c', 'a[b]}c'],
  ])('%s', (_, tags, answer, expected) => {
    expect(shown([answer], tags)).toBe(expected);
    expect(shown([...answer], tags)).toBe(expected);
    for (let at = 1; at < answer.length; at += 1) {
      expect(shown([answer.slice(0, at), answer.slice(at)], tags)).toBe(expected);
    }
  });

  it('says the same however the text is cut', () => {
    const words = ['<think>', '</think>', '<', '</', 'think>', '<think', 'a', ' b ', '🌍', '<<', '\n', '<r>', '</r>'];
    const tags = fc.constantFrom<readonly ThinkingTag[] | undefined>(
      undefined,
      [named('think'), named('r')],
      [{ open: '<<', close: '<' }],
      [{ open: '<t', close: '<<t' }],
    );
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(...words), { minLength: 1, maxLength: 14 }).map((list) => list.join('')),
        fc.array(fc.nat(), { maxLength: 12 }),
        tags,
        (answer, offsets, pairs) => {
          const cuts = [...new Set([0, ...offsets.map((offset) => offset % answer.length)])].sort((a, b) => a - b);
          const pieces = cuts.map((begin, i) => answer.slice(begin, cuts[i + 1]));
          expect(said(pieces, pairs)).toStrictEqual(said([answer], pairs));
        },
      ),
      { numRuns: 1_000 },
    );
  });

  it('holds less than a tag', () => {
    const reader = new InlineThinking();
    const heard: string[] = [];
    const say = (_: string, text: string): void => {
      heard.push(text);
    };
    reader.push('ab<think', say);
    expect([heard.join(''), reader.isHolding]).toStrictEqual(['ab', true]);
    reader.push('<', say);
    expect([heard.join(''), reader.isHolding]).toStrictEqual(['ab<think', true]);
    reader.push('b', say);
    expect([heard.join(''), reader.isHolding]).toStrictEqual(['ab<think<b', false]);
  });

  it('does not say the beginning of a tag that is all that came of an answer that was cut', () => {
    const heard: string[] = [];
    const say = (type: string, text: string): void => {
      heard.push(`${type} ${text}`);
    };
    for (const answer of ['<thi', 'a<thi', '<think></thi']) {
      const reader = new InlineThinking();
      reader.push(answer, say);
      reader.release(say);
    }
    expect(heard).toStrictEqual(['text a', 'text <thi', 'thinking </thi']);
  });
});
