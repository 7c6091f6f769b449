import { readFailure } from '../protocol/dialect.js';
import { type ErrorReport, isRecord } from '../protocol/errorBody.js';

/** Above any error body; chosen. What is longer is judged by its beginning. */
const MAX_CHARS = 1_048_576;

/** What JSON between the frames came to: a failure, or something else that arrives as `raw`. */
export interface BareJSON {
  readonly report: ErrorReport | undefined;
  /** Parsed, or as text where it is not whole. */
  readonly frame: unknown;
}

/**
 * Joins lines of JSON that stand in the stream without `data:`, as Google's servers write an error in its middle: each of them is
 * a field that the SSE standard ignores. A line that begins with a brace or a bracket begins it, its own end ends it.
 */
export class BareJSONReader {
  #text = '';
  #depth = 0;
  #isInString = false;

  /**
   * Takes a line, as an SSE parser cuts it at its first colon.
   * @returns what it ends, `'more'` where it is taken, undefined where it is no part of such JSON
   */
  line(field: string, value: string): BareJSON | 'more' | undefined {
    const line = value === '' ? field : `${field}:${value}`;
    if (this.#text === '' && !/^\s*[[{]/.test(line)) return undefined;
    this.#scan(line);
    this.#text += `${line}\n`;
    return this.#depth > 0 && this.#text.length <= MAX_CHARS ? 'more' : this.end();
  }

  /** The stream ended, or goes on with something else. */
  end(): BareJSON | undefined {
    const text = this.#text;
    if (text === '') return undefined;
    this.#text = '';
    this.#depth = 0;
    this.#isInString = false;
    try {
      const frame = JSON.parse(text) as unknown;
      // Without `alt=sse` it is a list of one.
      const told: unknown = Array.isArray(frame) ? frame[0] : frame;
      return { report: isRecord(told) ? readFailure(told, 'message') : undefined, frame };
    } catch {
      return { report: reportOf(text), frame: text }; // cut: it still says what it is
    }
  }

  #scan(line: string): void {
    for (let at = 0; at < line.length; at++) {
      const character = line[at];
      if (this.#isInString) {
        if (character === '\\') at++;
        else if (character === '"') this.#isInString = false;
      } else if (character === '"') this.#isInString = true;
      else if (character === '{' || character === '[') this.#depth++;
      else if (character === '}' || character === ']') this.#depth--;
    }
    this.#isInString = false; // JSON has no line break in a string
  }
}

/** What a cut error says; undefined for what is no error. */
function reportOf(text: string): ErrorReport | undefined {
  if (!/^\s*\[?\s*\{\s*"error"\s*:/.test(text)) return undefined;
  const code = /"code"\s*:\s*(\d{1,6})\b/.exec(text)?.[1];
  return {
    code: code === undefined ? stringOf('status', text) : Number(code),
    type: undefined,
    message: stringOf('message', text),
  };
}

function stringOf(key: string, text: string): string | undefined {
  const quoted = new RegExp(`"${key}"\\s*:\\s*("(?:[^"\\\\\\n]|\\\\.)*")`).exec(text)?.[1];
  try {
    return quoted === undefined ? undefined : String(JSON.parse(quoted));
  } catch {
    return undefined; // it is told as absent: the frame has the text
  }
}
