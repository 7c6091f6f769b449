/**
 * Text from outside, made harmless for a terminal. What a model or a server writes must not move the cursor, change colours or the
 * window's title, write to the clipboard, or turn the reading direction of what stands beside it.
 */

// Sequences that are whole: CSI, strings (OSC, DCS, SOS, PM, APC) and the others. Each begins with its introducer, which stands nowhere
// else in it, so that looking for them is linear.
const SEQUENCE =
  // eslint-disable-next-line no-control-regex -- control characters are what it looks for
  /(?:\u001b\[|\u009b)[0-?]*[ -/]*[@-~]|\u001b[\]PX^_][^\u0007\u001b\u009c]*(?:\u0007|\u001b\\|\u009c)|\u001b[ -/]*[0-Z\\^-~]/g;

// Controls, and what is unseen: direction marks, joiners, tags. The two joiners of words stay: emoji and Persian are made with them.
const UNSEEN = /(?![\u200c\u200d])[\p{Cc}\p{Cf}]/gu;

/** Text of one line: runs of white space are one space. */
export function oneLine(text: string): string {
  return harmless(text.replace(SEQUENCE, '').replace(/\s+/g, ' '));
}

/** The lines of a text, each with the space in it kept. Of what a carriage return writes over, the last is kept. */
export function linesOf(text: string): readonly string[] {
  return text
    .replace(SEQUENCE, '')
    .trimEnd()
    .split(/\r?\n|[\u2028\u2029]/)
    .map((line) =>
      harmless((line.split('\r').findLast((part) => part !== '') ?? '').replaceAll('\t', '    ')).trimEnd(),
    );
}

/** A half of a surrogate pair is shown as the replacement character. */
function harmless(text: string): string {
  return text.replace(UNSEEN, '').replace(/\p{Cs}/gu, '\ufffd');
}
