/** Code units that are segmented at once, since the cost of `Intl.Segmenter` grows with its text; a longer cluster is cut. */
const WINDOW = 256;

/** Text in which every code unit is a character of its own, whatever follows inside it. */
const PLAIN = /^[\n\x20-\x7e]*$/;

const segmenter: Intl.Segmenter = new Intl.Segmenter(undefined, { granularity: 'grapheme' });

/** True where each code unit of a text is one character, and no two such texts join into one at their seam. */
export function isPlain(text: string): boolean {
  return PLAIN.test(text);
}

/**
 * Where each user-perceived character of a text ends (extended grapheme clusters, UAX #29). Linear; a cluster of more than 256
 * code units is cut, never inside a surrogate pair.
 */
export function graphemeEnds(text: string): readonly number[] {
  const ends: number[] = [];
  for (let from = 0; from < text.length;) {
    const to = wholeTo(text, from, Math.min(text.length, from + WINDOW));
    const first = ends.length;
    for (const { index, segment } of segmenter.segment(text.slice(from, to))) ends.push(from + index + segment.length);
    // The last one of a window may go on behind it.
    if (to < text.length && ends.length - first > 1) ends.pop();
    from = ends.at(-1) ?? to;
  }
  return ends;
}

/** True where a text ends in the first half of a surrogate pair. */
export function endsInHalf(text: string): boolean {
  const last = text.charCodeAt(text.length - 1);
  return last >= 0xd800 && last <= 0xdbff;
}

/** The end of a window, moved before a surrogate pair that it would cut. */
function wholeTo(text: string, from: number, to: number): number {
  return to < text.length && to - from > 1 && endsInHalf(text.slice(to - 1, to)) ? to - 1 : to;
}
