/** Where a text may be cut although no sentence ends. */
export interface SafeCut {
  /** The last good place at or before `max`, or 0. `window` goes on beyond `max`, so that what follows a place is known. */
  atWord(window: string, max: number): number;
  /** As `atWord`; else, the last place between two grapheme clusters. Prefers the end of a line of `code`, or of a clause. */
  anywhere(window: string, max: number, prefer: 'line' | 'clause'): number;
}

const CLAUSE = /[,;:،؛、，；：—–]["'”’»)\]]*\s+|[、，；：،؛]/gu;
const SPACES = /\s+/gu;
/** Letters of scripts that put no space between words. */
const UNSPACED =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u;

/** @param locales - BCP 47 tags, for the words of languages without spaces */
export function safeCut(locales: readonly string[]): SafeCut {
  const words = new Intl.Segmenter([...locales], { granularity: 'word' });
  const graphemes = new Intl.Segmenter([...locales], { granularity: 'grapheme' });

  /** The last of the given places that leaves every grapheme cluster whole. */
  const lastWhole = (window: string, places: readonly number[]): number => {
    const clusters = graphemes.segment(window);
    return places.findLast((place) => place > 0 && clusters.containing(place)?.index === place) ?? 0;
  };
  /** The ends of what `pattern` finds; of a run that goes on beyond `max`, that place. */
  const endsOf = (window: string, max: number, pattern: RegExp): number[] =>
    [...window.matchAll(pattern)]
      .filter(({ index }) => index < max)
      .map(({ index, 0: found }) => Math.min(index + found.length, max));
  /** Places between words of which at least one is written without spaces. */
  const unspaced = (window: string, max: number): number[] => {
    if (!UNSPACED.test(window)) return [];
    return [...words.segment(window)]
      .filter(({ index, isWordLike }) => isWordLike === true && index <= max)
      .filter(
        ({ index, segment }) => UNSPACED.test(segment) || UNSPACED.test(window.slice(Math.max(0, index - 1), index)),
      )
      .map(({ index }) => index);
  };
  const atWord = (window: string, max: number): number =>
    Math.max(lastWhole(window, endsOf(window, max, SPACES)), lastWhole(window, unspaced(window, max)));

  return {
    atWord,
    anywhere: (window, max, prefer) => {
      const pattern = prefer === 'line' ? /\n/gu : CLAUSE;
      const preferred = lastWhole(window, endsOf(window, max, pattern));
      if (preferred >= (prefer === 'line' ? 1 : max / 2)) return preferred;
      const word = atWord(window, max);
      if (word > 0) return word;
      return graphemes.segment(window).containing(max)?.index ?? 0;
    },
  };
}
