import type { ShownSink, ViewSettings } from '../../terminalView.js';
import { endFacts, outcomeWords, type RowEnding } from './endings.js';
import { duration } from './measures.js';
import { makePaints, type Paints } from './paints.js';
import type { Screen } from './screen.js';
import { oneLine } from './screenText.js';
import type { News, StreamRow } from './streamRow.js';
import { writeTo } from './writeTo.js';

/** Shows streams as lines, for a pipe, a file or the log of a CI job. An output that is full pauses the sources. */
export class LineScreen implements Screen {
  readonly #sink: ShownSink;
  readonly #settings: ViewSettings;
  readonly #paints: Paints;
  #hues = 0;
  #unwritten = 0;
  #isFull = false;
  #isLost = false;
  #written: (() => void) | undefined;

  constructor(sink: ShownSink, settings: ViewSettings, hasColors: boolean) {
    this.#sink = sink;
    this.#settings = settings;
    this.#paints = makePaints(hasColors);
  }

  nextHue(): number {
    this.#hues += 1;
    return this.#hues - 1;
  }

  add(row: StreamRow): void {
    this.#print(row, ['started']);
  }

  tell(row: StreamRow, news: News): void {
    this.#print(row, this.#linesOf(news));
  }

  remove(row: StreamRow, ending: RowEnding | undefined): void {
    if (ending === undefined) return;
    const { green, yellow, red } = this.#paints;
    const paint = { complete: green, stopped: yellow, failed: red, interrupted: red }[ending.outcome];
    const facts = endFacts(row, ending, this.#settings.scheduler.now() - row.startedAt).join(', ');
    const why = ending.message === undefined ? '' : `: ${oneLine(ending.message)}`;
    this.#print(row, [`${paint(outcomeWords(ending))} after ${facts}${why}`]);
  }

  setMore(): void {
    // There is a line when it is known who they are.
  }

  onDrain(): void {
    this.#isFull = false;
    this.#sink.scope.release();
  }

  leave(written: () => void): void {
    this.#written = written;
    this.#settle();
  }

  abandon(): void {
    this.#isLost = true;
    this.#settle();
  }

  #linesOf(news: News): readonly string[] {
    switch (news.kind) {
      case 'content':
        return [`first content after ${duration(news.afterMs)}`];
      case 'status':
        return [`status: ${news.status}`];
      case 'progress':
        return [`progress: ${news.text}`];
      case 'log':
        return news.lines.map((line) => `| ${line}`.trimEnd());
      case 'warning':
        return [`warning: ${news.text}`];
      case 'restart':
        return [`begins anew: ${news.because}`];
    }
  }

  #print(row: StreamRow, lines: readonly string[]): void {
    if (this.#isLost || lines.length === 0) return;
    const { hues } = this.#paints;
    const paint = hues[row.hue % hues.length] ?? String;
    const name = paint(`[${row.name}]`);
    this.#unwritten += 1;
    const text = lines.map((line) => `${name} ${line}\n`).join('');
    const hasRoom = writeTo(this.#settings.output, text, (error) => {
      this.#unwritten -= 1;
      if (error !== undefined) this.#sink.onError(error);
      this.#settle();
    });
    if (!hasRoom) this.#isFull = true;
    if (this.#isFull && this.#written === undefined) this.#sink.scope.pause();
  }

  #settle(): void {
    if (this.#unwritten > 0 && !this.#isLost) return;
    const written = this.#written;
    this.#written = undefined;
    written?.();
  }
}
