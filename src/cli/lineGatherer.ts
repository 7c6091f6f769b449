const SENTENCE_END = /[.!?…][)"'”»]*\s/u;
const MIN_CHARS = 24;
const MAX_CHARS = 88;

/** Gathers pieces of text into lines that a person can read in a log: a sentence each, or the words that fit. */
export class LineGatherer {
  #held = '';

  /** Takes a piece; gives the lines that it finishes. */
  push(text: string): string[] {
    this.#held += text;
    const lines: string[] = [];
    for (let length = endOfLine(this.#held); length !== undefined; length = endOfLine(this.#held)) {
      lines.push(this.#held.slice(0, length));
      this.#held = this.#held.slice(length);
    }
    return lines.map(tidy).filter((line) => line !== '');
  }

  /** What is left. */
  flush(): string[] {
    const rest = tidy(this.#held);
    this.#held = '';
    return rest === '' ? [] : [rest];
  }
}

/** How many characters the next line takes; `undefined` while it is not known. */
function endOfLine(text: string): number | undefined {
  const newline = text.indexOf('\n');
  const line = newline < 0 ? text : text.slice(0, newline + 1);
  const sentence = SENTENCE_END.exec(line.slice(MIN_CHARS));
  const end = sentence === null ? undefined : MIN_CHARS + sentence.index + sentence[0].length;
  if (end !== undefined && end <= MAX_CHARS) return end;
  if (line.length > MAX_CHARS) {
    const space = line.lastIndexOf(' ', MAX_CHARS);
    return space > MIN_CHARS ? space + 1 : MAX_CHARS;
  }
  return newline < 0 ? undefined : newline + 1;
}

function tidy(line: string): string {
  return line.replace(/\s+/g, ' ').trim();
}
