import { EventEmitter } from 'node:events';
import type { TerminalOutput } from '../../src/internal/io.js';
import { widthOf } from '../../src/internal/textWidth.js';

const segmenter = new Intl.Segmenter(undefined, { granularity: 'grapheme' });
/** Everything that may reach a terminal: one of our sequences, or a run of anything else. */
// eslint-disable-next-line no-control-regex -- escape sequences are what it looks for
const TOKEN = /\u001b\[(\?)?(\d*)([A-Za-z])|[^\u001b]+|\u001b/g;
// eslint-disable-next-line no-control-regex -- control characters are what it looks for
const CONTROL = /[\u0000-\u0009\u000b\u000c\u000e-\u001f\u007f-\u009f]|(?![\u200c\u200d])\p{Cf}/u;

type Written = (error?: Error | null) => void;

/**
 * A terminal that keeps what is on its screen, as far as our drawing goes: it refuses every sequence that we do not use, and every
 * other control character. It does not break lines anew when it is resized.
 */
export class FakeTerminal extends EventEmitter implements TerminalOutput {
  readonly isTTY: boolean;
  columns: number;
  rows: number;
  hasRoom = true;
  isCursorHidden = false;
  /** What was written, piece by piece. */
  readonly pieces: string[] = [];
  /** What becomes of a write: done at once, unless the test says otherwise. */
  onWrite: (written: Written) => void = (written) => {
    written();
  };

  /** All rows from the first one on, the screen's at the end. */
  readonly #cells: string[][] = [[]];
  #row = 0;
  #column = 0;
  #wraps = true;

  constructor({
    columns = 80,
    rows = 24,
    isTTY = true,
  }: Partial<Pick<FakeTerminal, 'columns' | 'rows' | 'isTTY'>> = {}) {
    super();
    this.columns = columns;
    this.rows = rows;
    this.isTTY = isTTY;
  }

  get text(): string {
    return this.pieces.join('');
  }

  /** What a person sees, and what has scrolled away; without the empty rows at the end. */
  get lines(): string[] {
    const lines = this.#cells.map((cells) =>
      Array.from(cells, (cell) => cell ?? ' ')
        .join('')
        .trimEnd(),
    );
    return lines.slice(0, lines.findLastIndex((line) => line !== '') + 1);
  }

  get listeners4(): number[] {
    return ['drain', 'close', 'error', 'resize'].map((event) => this.listenerCount(event));
  }

  resize(columns: number, rows = this.rows): void {
    this.columns = columns;
    this.rows = rows;
    this.emit('resize');
  }

  write(text: string, written: Written): boolean {
    this.pieces.push(text);
    this.#show(text);
    this.onWrite(written);
    return this.hasRoom;
  }

  #show(text: string): void {
    for (const [token, mode, count, final] of text.matchAll(TOKEN)) {
      if (final !== undefined) this.#obey(final, Number(count === '' ? '1' : count), mode !== undefined, count === '');
      else this.#print(token);
    }
  }

  #obey(final: string, count: number, isMode: boolean, isBare: boolean): void {
    const top = Math.max(0, this.#cells.length - this.rows);
    if (isMode && count === 25) this.isCursorHidden = final === 'l';
    else if (isMode && count === 7) this.#wraps = final === 'h';
    else if (isMode && count === 2026) return;
    else if (isMode) throw new Error(`a mode that nobody knows: ${String(count)}`);
    else if (final === 'm') return;
    else if (final === 'A') this.#row = Math.max(top, this.#row - count);
    else if (final === 'B') this.#row = Math.min(this.#cells.length - 1, this.#row + count);
    else if (final === 'G') this.#column = count - 1;
    else if (final === 'K' && count === 2) this.#cells[this.#row] = [];
    else if (final === 'K' && isBare) this.#cells[this.#row]?.splice(this.#column);
    else throw new Error(`a sequence that nobody knows: ${String(count)}${final}`);
  }

  #print(text: string): void {
    if (CONTROL.test(text) || text.startsWith('\u001b'))
      throw new Error(`a control character: ${JSON.stringify(text)}`);
    for (const { segment } of segmenter.segment(text)) {
      if (segment === '\n' || segment === '\r\n') this.#feed();
      else if (segment === '\r') this.#column = 0;
      else this.#put(segment);
    }
  }

  #put(grapheme: string): void {
    const width = widthOf(grapheme);
    if (this.#column + width > this.columns) {
      if (this.#wraps) this.#feed();
      else this.#column = this.columns - width;
    }
    const cells = this.#cells[this.#row] ?? [];
    for (let column = 0; column < width; column += 1) cells[this.#column + column] = column === 0 ? grapheme : '';
    this.#column += width;
  }

  #feed(): void {
    this.#column = 0;
    this.#row += 1;
    if (this.#row === this.#cells.length) this.#cells.push([]);
  }
}
