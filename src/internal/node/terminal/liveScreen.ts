import process from 'node:process';
import type { Subscription } from 'rxjs';
import type { TerminalOutput } from '../../io.js';
import { listenToOutput } from '../../outputListeners.js';
import type { RowsSettings, ShownSink, ViewSettings } from '../../terminalView.js';
import { rowsOf, truncateText, widthOf } from '../../textWidth.js';
import { drawRest, drawRows, nameWidthOf } from './drawRows.js';
import { drawEnding, type RowEnding } from './endings.js';
import { type LogUpdate, makeLogUpdate } from './logUpdate.js';
import { counted } from './measures.js';
import { makePaints, type Paint, type Paints } from './paints.js';
import type { Screen } from './screen.js';
import type { News, StreamRow } from './streamRow.js';
import { watchProcess } from './watchProcess.js';
import { writeTo } from './writeTo.js';

const HIDE_CURSOR = '\u001b[?25l';
const SHOW_CURSOR = '\u001b[?25h';
/** What is between the two is shown at once by terminals that know them. */
const BEGIN_UPDATE = '\u001b[?2026h';
const END_UPDATE = '\u001b[?2026l';
/** Between the two, what is too wide is cut and not broken: a terminal may measure a character otherwise than we do. */
const NO_WRAP = '\u001b[?7l';
const WRAP = '\u001b[?7h';
/** Not "clear all below", for which some terminals save the whole screen. */
const ROW_UP = '\u001b[1A\r\u001b[2K';
// eslint-disable-next-line no-control-regex -- our own colours
const COLOR = /\u001b\[\d+m/g;

/**
 * How long a new size must stay the same before rows are drawn for it. While somebody pulls at a window, what is on it is older or newer
 * than what we are told, and rows that are drawn meanwhile are lost track of. tmux tells of a size no sooner than 250 ms after another.
 */
const SETTLE_MS = 300;

/** Of a line of a log or a warning; the rest of it is cut. */
const MAX_LINE_CHARS = 2_000;

/** Lines that wait for a terminal that is busy; the ends of more streams are counted only. */
const MAX_WAITING_LINES = 10_000;

const screens = new WeakMap<TerminalOutput, LiveScreen>();

/** Whose rows are shown. */
type Owner = Pick<ShownSink, 'onError'>;

/** What decides how a screen is drawn. */
type LiveSettings = Pick<
  ViewSettings,
  'output' | 'maxFramesPerSecond' | 'maxRows' | 'maxLogLinesPerSecond' | 'scheduler'
>;

/** A screen that can show more than rows. */
export interface LivePart extends Screen {
  print(lines: readonly string[]): void;
  setFooter(draw: RowsSettings['footer']): void;
}

/** The screen of an output, for one more sink. How it is drawn is decided by the first of those that share it. */
export function liveScreenOf(owner: Owner, settings: LiveSettings, hasColors: boolean): LivePart {
  const { output } = settings;
  const screen = screens.get(output) ?? new LiveScreen(settings, hasColors, () => screens.delete(output));
  screens.set(output, screen);
  return screen.join(owner);
}

/**
 * Rows of running streams below everything else: redrawn in place a few times a second, with what is to stay printed above them.
 * A terminal that is slow is given fewer frames.
 */
class LiveScreen {
  readonly #settings: LiveSettings;
  readonly #paints: Paints;
  readonly #onOver: () => void;
  readonly #draw: LogUpdate;
  readonly #stopListening: () => void;
  readonly #timer: Subscription;
  #stopWatching: (() => void) | undefined;

  readonly #owners: Set<Owner> = new Set();
  /** Those that have ended while the output was full. */
  readonly #leaving: Map<Owner, () => void> = new Map();
  readonly #rows: Set<StreamRow> = new Set();
  /** The states of streams that have no row yet. */
  readonly #more: Map<Owner, () => readonly string[]> = new Map();
  /** What is drawn below the rows. */
  readonly #footers: Map<Owner, RowsSettings['footer']> = new Map();
  #footerHeight = 0;
  #hues = 0;

  /** Lines that are to be printed above the rows. */
  #above: string[] = [];
  /** Lines of logs that may be printed now, and since when. */
  #logRoom: number;
  #logRoomAt: number;
  #leftOut = 0;

  /** What is being drawn. */
  #written = '';
  /** The rows that are on the screen, and how wide it was. */
  #drawn: readonly string[] = [];
  #drawnColumns = 0;
  #resizedAt = -Infinity;
  #isFull = false;
  #isLost = false;

  constructor(settings: LiveSettings, hasColors: boolean, onOver: () => void) {
    const { output, scheduler, maxFramesPerSecond, maxLogLinesPerSecond } = settings;
    this.#settings = settings;
    this.#paints = makePaints(hasColors);
    this.#onOver = onOver;
    this.#logRoom = maxLogLinesPerSecond;
    this.#logRoomAt = scheduler.now();
    const size = (): Size => sizeOf(output);
    this.#draw = makeLogUpdate({
      get rows() {
        return size().rows;
      },
      write: (text) => {
        this.#written += text;
      },
    });
    this.#stopListening = listenToOutput(output, {
      onDrain: () => {
        this.#isFull = false;
        this.#redraw();
        for (const owner of [...this.#leaving.keys()]) this.#settle(owner);
      },
      // The owners listen themselves.
      onClose: () => undefined,
      onError: () => undefined,
    });
    output.on('resize', this.#onResize);
    const [redraw, everyMs] = [this.#redraw, 1000 / maxFramesPerSecond];
    this.#timer = scheduler.schedule(function () {
      redraw();
      this.schedule(undefined, everyMs);
    }, everyMs);
  }

  join(owner: Owner): LivePart {
    this.#owners.add(owner);
    return {
      nextHue: () => {
        this.#hues += 1;
        return this.#hues - 1;
      },
      add: (row) => {
        this.#rows.add(row);
      },
      tell: (row, news) => {
        this.#tell(row, news);
      },
      remove: (row, ending) => {
        this.#rows.delete(row);
        if (ending !== undefined) this.#end(row, ending);
      },
      setMore: (words) => {
        this.#more.set(owner, words);
      },
      setFooter: (draw) => {
        this.#footers.set(owner, draw);
      },
      print: (lines) => {
        if (this.#above.length >= MAX_WAITING_LINES) this.#leftOut += lines.length;
        else {
          this.#tellLeftOut();
          this.#above.push(...lines);
        }
      },
      onDrain: () => undefined,
      leave: (written) => {
        this.#owners.delete(owner);
        this.#more.delete(owner);
        this.#footers.delete(owner);
        this.#leaving.set(owner, written);
        if (this.#owners.size === 0) this.#close();
        else if (!this.#isFull || this.#isLost) this.#settle(owner);
      },
      abandon: () => {
        this.#isLost = true;
        this.#settle(owner);
      },
    };
  }

  #tell(row: StreamRow, news: News): void {
    const { dim, yellow } = this.#paints;
    switch (news.kind) {
      case 'log':
        this.#log(row, news.lines, dim('│'), String);
        break;
      case 'warning':
        this.#log(row, [news.text], yellow('!'), yellow);
        break;
      case 'restart':
        this.#log(row, [`begins anew: ${news.because}`], yellow('↺'), yellow);
        break;
      default: // the row shows it
    }
  }

  #log(row: StreamRow, lines: readonly string[], mark: string, paint: Paint): void {
    const { scheduler, maxLogLinesPerSecond } = this.#settings;
    const now = scheduler.now();
    const gained = ((now - this.#logRoomAt) * maxLogLinesPerSecond) / 1000;
    this.#logRoom = Math.min(maxLogLinesPerSecond, this.#logRoom + gained);
    this.#logRoomAt = now;
    // What waits for a terminal that is busy is no more than what comes in a second.
    const room = Math.min(Math.floor(this.#logRoom), Math.max(0, maxLogLinesPerSecond - this.#above.length));
    if (room > 0) this.#tellLeftOut();
    const shown = lines.slice(0, room);
    this.#logRoom -= shown.length;
    this.#leftOut += lines.length - shown.length;
    const start = `${mark} ${this.#nameOf(row)}  `;
    for (const line of shown) {
      const text = line.length > MAX_LINE_CHARS ? `${line.slice(0, MAX_LINE_CHARS)}…` : line;
      this.#above.push((start + paint(text)).trimEnd());
    }
  }

  #tellLeftOut(): void {
    if (this.#leftOut === 0) return;
    this.#above.push(this.#paints.dim(`… ${counted(this.#leftOut, 'line')} left out`));
    this.#leftOut = 0;
  }

  #end(row: StreamRow, ending: RowEnding): void {
    const { output, scheduler } = this.#settings;
    const { columns } = sizeOf(output);
    const drawing = { columns, nameWidth: this.#nameWidth(row), paints: this.#paints };
    if (this.#above.length >= MAX_WAITING_LINES) {
      this.#leftOut += 1;
      return;
    }
    this.#tellLeftOut();
    this.#above.push(...drawEnding(row, ending, scheduler.now() - row.startedAt, drawing));
  }

  #nameOf(row: StreamRow): string {
    const { bold, hues } = this.#paints;
    const paint = hues[row.hue % hues.length] ?? bold;
    const width = this.#nameWidth(row);
    const name = truncateText(row.name, width);
    return paint(name) + ' '.repeat(width - widthOf(name));
  }

  #nameWidth(row: StreamRow): number {
    const names = [row, ...this.#shownRows()].map(({ name }) => name);
    return nameWidthOf(names, sizeOf(this.#settings.output).columns);
  }

  /** Those that there is room for, where some are left for a line on the rest. */
  #shownRows(): readonly StreamRow[] {
    const { output, maxRows } = this.#settings;
    const { rows } = sizeOf(output);
    const room = Math.max(1, Math.min(rows - 1 - this.#footerHeight, maxRows ?? Math.floor(rows / 2)));
    const isAll = this.#rows.size + Math.min(1, this.#unheard().length) <= room;
    return firstOf(this.#rows, isAll ? room : room - 1);
  }

  #unheard(): readonly string[] {
    return [...this.#more.values()].flatMap((words) => words());
  }

  readonly #onResize = (): void => {
    this.#resizedAt = this.#settings.scheduler.now();
  };

  /** Draws what has changed, unless the output is busy with what it was given, or its size is not to be relied on. */
  readonly #redraw = (): void => {
    const { output, scheduler } = this.#settings;
    refreshSize(output);
    if (this.#isFull || this.#isLost || scheduler.now() - this.#resizedAt < SETTLE_MS) return;
    this.#compose(this.#frame());
    this.#flush();
  };

  #frame(): readonly string[] {
    const { output, scheduler } = this.#settings;
    const { columns, rows } = sizeOf(output);
    const now = scheduler.now();
    const drawing = { columns, now, paints: this.#paints };
    // At least one row is left for the streams.
    const footer = [...this.#footers.values()].flatMap((draw) => draw(columns, Math.max(1, rows - 2)));
    this.#footerHeight = footer.length;
    const shown = this.#shownRows();
    const lines = drawRows(
      shown.map((row) => row.read(now)),
      drawing,
    );
    const rest = [...this.#rows].slice(shown.length).map((row) => row.word);
    const words = [...rest, ...this.#unheard()];
    const all = words.length === 0 ? [...lines, ...footer] : [...lines, drawRest(words, drawing), ...footer];
    return all.slice(-Math.max(1, rows - 1));
  }

  /** Puts together what turns the screen into one with this frame. */
  #compose(frame: readonly string[]): void {
    const { columns } = sizeOf(this.#settings.output);
    if (this.#drawn.length > 0 && columns !== this.#drawnColumns) {
      this.#written += ROW_UP.repeat(this.#rowsOnScreen(columns));
      this.#draw.done();
    }
    if (this.#above.length > 0 || frame.length === 0) {
      this.#draw.clear();
      this.#written += this.#above.map((line) => `${line}\n`).join('');
      this.#above = [];
    }
    this.#drawn = frame;
    this.#drawnColumns = columns;
    if (frame.length === 0) return;
    const before = this.#written;
    this.#written = '';
    this.#draw(frame.join('\n'));
    const patch = this.#written === '' ? '' : NO_WRAP + this.#written + WRAP;
    this.#written = before + patch;
    if (this.#stopWatching !== undefined) return;
    this.#written = HIDE_CURSOR + this.#written;
    this.#stopWatching = watchProcess({
      onEnd: this.#onProcessEnd,
      onSleep: () => {
        this.#forget();
        writeTo(this.#settings.output, SHOW_CURSOR, () => undefined);
      },
      onWake: () => {
        this.#forget();
        writeTo(this.#settings.output, HIDE_CURSOR, () => undefined);
        this.#redraw();
      },
    });
  }

  /** The rows that are there stay, and the next ones are drawn below. */
  #forget(): void {
    this.#drawn = [];
    this.#draw.done();
  }

  /** How many rows the frame takes by now: where a terminal became narrower it has broken what was too wide. */
  #rowsOnScreen(columns: number): number {
    if (!breaksLines(process.env)) return this.#drawn.length;
    return this.#drawn.reduce((rows, line) => rows + rowsOf(line.replace(COLOR, ''), columns), 0);
  }

  #flush(done: () => void = () => undefined): void {
    if (this.#written === '') {
      done();
      return;
    }
    const text = BEGIN_UPDATE + this.#written + END_UPDATE;
    this.#written = '';
    const hasRoom = writeTo(this.#settings.output, text, (error) => {
      if (error !== undefined) for (const owner of [...this.#owners, ...this.#leaving.keys()]) owner.onError(error);
      done();
    });
    if (!hasRoom) this.#isFull = true;
  }

  #settle(owner: Owner): void {
    const written = this.#leaving.get(owner);
    this.#leaving.delete(owner);
    written?.();
  }

  /** The last owner goes: what is to stay is printed, and the terminal is as it was. */
  #close(): void {
    this.#onOver();
    this.#timer.unsubscribe();
    this.#settings.output.off('resize', this.#onResize);
    this.#stopWatching?.();
    if (!this.#isLost) {
      this.#tellLeftOut();
      this.#compose([]);
      if (this.#stopWatching !== undefined) this.#written += SHOW_CURSOR;
    }
    this.#flush(() => {
      for (const owner of [...this.#leaving.keys()]) this.#settle(owner);
      this.#stopListening();
    });
  }

  /** The process goes: the last frame stays, with all that was to be printed above it. */
  readonly #onProcessEnd = (): void => {
    this.#isFull = false;
    this.#resizedAt = -Infinity;
    try {
      this.#tellLeftOut();
      this.#redraw();
    } finally {
      this.#isLost = true;
      writeTo(this.#settings.output, SHOW_CURSOR, () => undefined);
    }
  };
}

function firstOf<T>(all: Iterable<T>, count: number): readonly T[] {
  const first: T[] = [];
  for (const one of all) {
    if (first.length >= count) break;
    first.push(one);
  }
  return first;
}

interface Size {
  readonly columns: number;
  readonly rows: number;
}

/** A size that an output does not know, or knows as 0, is the usual one. */
function sizeOf({ columns, rows }: TerminalOutput): Size {
  return { columns: isSize(columns) ? columns : 80, rows: isSize(rows) ? rows : 24 };
}

/** Node hears of a new size by a signal, which waits for its turn; a stream of its own can be made to look now. */
function refreshSize(output: TerminalOutput): void {
  const { _refreshSize: look } = output as { readonly _refreshSize?: unknown };
  if (typeof look === 'function') look.call(output);
}

function isSize(value: number | undefined): value is number {
  return value !== undefined && value > 0;
}

/**
 * Whether a terminal that becomes narrower breaks the lines that are there, as nearly all do; where it cuts them instead, taking
 * back more rows would take what is above.
 */
function breaksLines(env: Readonly<Record<string, string | undefined>>): boolean {
  if (env['TMUX'] !== undefined) return true;
  return env['XTERM_VERSION'] === undefined && env['STY'] === undefined && env['TERM'] !== 'linux';
}
