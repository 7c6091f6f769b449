import { performance } from 'node:perf_hooks';
import type { Receipt, StreamEvent } from '../index.js';
import type { Colors, Output } from './context.js';
import type { DemoStream, DemoView } from './demoView.js';
import { paintOutcome } from './receiptTable.js';
import { printable, truncateText, widthOf, wrapText } from '../internal/textWidth.js';

/** About the least in which panes can be read; below it the demo prints lines. */
export const MIN_COLUMNS = 48;
export const MIN_ROWS = 14;

const REDRAW_MS = 40;
const MAX_LINES = 7;
/** How much text of a pane is kept when all is done, so that the table has room below. */
const LAST_LINES = 2;
const MAX_KEPT_CHARS = 4000;

const HIDE_CURSOR = '\u001b[?25l';
const SHOW_CURSOR = '\u001b[?25h';
const CLEAR_LINE = '\u001b[K';
const CLEAR_BELOW = '\u001b[J';
const CLEAR_SCREEN = '\u001b[2J\u001b[H';

/** Shows streams side by side: a pane each, redrawn in place at most 25 times a second. */
export function liveView(output: Output, streams: readonly DemoStream[], colors: Colors): DemoView {
  const paints = [colors.cyan, colors.magenta, colors.blue];
  const panes = new Map(
    streams.map((stream, index) => [
      stream.name,
      new Pane(stream, paints[index % paints.length] ?? colors.cyan, colors),
    ]),
  );
  let height = 0;
  let isDirty = true;

  const draw = (maxLines: number, start = ''): void => {
    const { columns = 80, rows = 24 } = output;
    const lines = [...panes.values()].flatMap((pane) => pane.draw(columns - 1, maxLines)).slice(0, rows - 1);
    const up = height === 0 ? '\r' : `\u001b[${String(height)}A\r`;
    height = lines.length;
    isDirty = false;
    output.write(`${start === '' ? up : start}${lines.map((line) => `${line}${CLEAR_LINE}\n`).join('')}${CLEAR_BELOW}`);
  };
  const linesPerPane = (): number =>
    Math.min(MAX_LINES, Math.max(1, Math.floor(((output.rows ?? 24) - 3) / panes.size) - 2));
  const onResize = (): void => {
    // A narrower terminal has broken the lines that are there, nobody knows where.
    draw(linesPerPane(), CLEAR_SCREEN);
  };
  const timer = setInterval(() => {
    if (isDirty && !output.writableNeedDrain) draw(linesPerPane());
  }, REDRAW_MS);
  output.on('resize', onResize);
  output.write(HIDE_CURSOR);
  draw(linesPerPane());

  return {
    show: (name, event) => {
      panes.get(name)?.take(event);
      isDirty = true;
    },
    note: (name, text) => {
      panes.get(name)?.note(text);
      isDirty = true;
    },
    end: (name, receipt) => {
      panes.get(name)?.end(receipt);
      isDirty = true;
    },
    close: () => {
      clearInterval(timer);
      output.off('resize', onResize);
      if (!output.destroyed) draw(Math.min(LAST_LINES, linesPerPane()));
      // The last pane's empty line is the caller's to write.
      output.write('\u001b[1A');
      output.write(SHOW_CURSOR);
    },
  };
}

interface Part {
  readonly kind: 'text' | 'thinking' | 'log';
  text: string;
}

class Pane {
  readonly #stream: DemoStream;
  readonly #paint: (text: string) => string;
  readonly #colors: Colors;
  readonly #startedAt = performance.now();
  readonly #parts: Part[] = [];
  #state = 'connecting';
  #bar = '';
  #chars = 0;
  #firstTextMs: number | undefined;
  #receipt: Receipt | undefined;

  constructor(stream: DemoStream, paint: (text: string) => string, colors: Colors) {
    this.#stream = stream;
    this.#paint = paint;
    this.#colors = colors;
  }

  take(event: StreamEvent): void {
    switch (event.type) {
      case 'text':
        this.#firstTextMs ??= performance.now() - this.#startedAt;
        this.#chars += event.text.length;
        if (this.#bar === '') this.#state = 'streaming';
        this.#add('text', event.text);
        break;
      case 'thinking':
        this.#state = 'thinking';
        this.#add('thinking', event.text);
        break;
      case 'log':
        this.#add('log', `${event.message}\n`);
        break;
      case 'status':
        this.#state = printable(event.status);
        if (event.status === 'running') this.#bar = bar(0);
        break;
      case 'progress':
        if (event.total !== undefined) this.#bar = bar(event.current / event.total);
        break;
      default:
    }
  }

  note(text: string): void {
    this.#state = text;
    this.#bar = '';
  }

  end(receipt: Receipt): void {
    this.#receipt = receipt;
  }

  /** A header, `maxLines` lines of the newest text, and an empty line. */
  draw(columns: number, maxLines: number): string[] {
    const indent = '  ';
    const wrapped = this.#parts.flatMap(({ kind, text }) =>
      wrapText(text.replace(/\s+$/, ''), Math.min(columns - indent.length - 1, 110)).map((line) => ({ kind, line })),
    );
    // Where lines are few, none is spent on the space between paragraphs.
    const kept = maxLines > LAST_LINES ? wrapped : wrapped.filter(({ line }) => line !== '');
    const shown = kept.slice(-maxLines);
    if (shown[0]?.line === '') shown.shift();
    const lines = shown.map(({ kind, line }, index) => {
      const isNewest = index === shown.length - 1 && this.#receipt === undefined;
      return `${indent}${this.#style(kind, line)}${isNewest ? this.#paint('▌') : ''}`;
    });
    while (lines.length < maxLines) lines.push('');
    return [this.#header(columns), ...lines, ''];
  }

  #add(kind: Part['kind'], text: string): void {
    const last = this.#parts.at(-1);
    if (last?.kind === kind) last.text = (last.text + printable(text)).slice(-MAX_KEPT_CHARS);
    else this.#parts.push({ kind, text: printable(text).trimStart() });
  }

  #style(kind: Part['kind'], line: string): string {
    const { dim, italic } = this.#colors;
    switch (kind) {
      case 'text':
        return line;
      case 'thinking':
        return dim(italic(line));
      case 'log':
        return dim(line);
    }
  }

  #header(columns: number): string {
    const { bold, dim } = this.#colors;
    const { name, about } = this.#stream;
    const outcome = this.#receipt?.outcome;
    const state = outcome === undefined ? `${this.#state}${this.#bar}` : `${MARKS[outcome]} ${outcome}`;
    const facts = [
      `${String(this.#chars).padStart(4)} chars`,
      // As wide without a time, so that nothing moves when it comes.
      (this.#firstTextMs === undefined ? '' : `text after ${(this.#firstTextMs / 1000).toFixed(2)} s`).padEnd(17),
    ];
    // What does not fit goes, the least telling first.
    const least = widthOf(`● ${name}`) + 2 + widthOf(state);
    const all = facts.join('  ');
    const shownFacts = [all, facts[0] ?? '', ''].find((text) => least + 2 + widthOf(text) <= columns) ?? '';
    const room = columns - least - widthOf(shownFacts);
    const left = room < 16 ? '' : `  ${truncateText(about, room - 4)}`;
    const gap = ' '.repeat(Math.max(1, room - widthOf(left)));
    const painted = outcome === undefined ? this.#paint(state) : paintOutcome(outcome, state, this.#colors);
    return `${this.#paint('●')} ${bold(name)}${dim(left)}${gap}${painted}  ${dim(shownFacts)}`;
  }
}

const MARKS = { complete: '✓', failed: '✗', interrupted: '✂', stopped: '■' } as const;

function bar(ratio: number): string {
  const cells = 12;
  const filled = Math.round(Math.min(1, Math.max(0, ratio)) * cells);
  return ` ${'█'.repeat(filled)}${'░'.repeat(cells - filled)} ${String(Math.round(ratio * 100)).padStart(3)} %`;
}
