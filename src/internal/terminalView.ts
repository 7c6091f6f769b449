import type { SchedulerLike } from 'rxjs';
import type { Receipt, StreamEvent } from '../types.js';
import type { Scope } from './flow.js';
import type { TerminalOutput } from './io.js';
import type { OutputSelection } from './selectOutput.js';

/** How streams are shown. */
export interface ViewSettings extends OutputSelection {
  readonly output: TerminalOutput;
  readonly key: string | undefined;
  readonly mode: 'live' | 'lines' | undefined;
  readonly maxFramesPerSecond: number;
  readonly maxRows: number | undefined;
  readonly maxLogLinesPerSecond: number;
  readonly scheduler: SchedulerLike;
}

/** A sink whose stream is shown, or whose streams are. */
export interface ShownSink {
  readonly scope: Scope;
  /** A write has failed. */
  readonly onError: (error: Error) => void;
}

/** What one sink shows. */
export interface TerminalView {
  /** Text of the streams so far, in UTF-16 code units. */
  readonly chars: number;
  /** The source has been subscribed to; items may have come before. */
  begin(): void;
  take(item: StreamEvent | string): void;
  /** The output has room again. */
  onDrain(): void;
  /**
   * Shows how it ended; nothing comes after that.
   * @param error - where it failed
   * @param written - called once, when what there is to show is out
   */
  end(receipt: Receipt, error: unknown, written: () => void): void;
  /** The output is lost: nothing is written any more. */
  abandon(): void;
}

/** Makes the view of one sink. Sinks on one output share its screen. */
export type OpenTerminal = (sink: ShownSink, settings: ViewSettings) => TerminalView;

/** How rows are shown that belong to no sink. */
export interface RowsSettings extends Pick<
  ViewSettings,
  'output' | 'maxFramesPerSecond' | 'maxRows' | 'maxLogLinesPerSecond' | 'scheduler'
> {
  readonly hasColors: boolean;
  /**
   * Draws the lines below the rows, for each frame; harmless ones, narrower than the terminal.
   * @param room - as many there may be, at least 1
   */
  readonly footer: (columns: number, room: number) => readonly string[];
  /** A write has failed, or the terminal was closed: nothing is drawn any more. */
  readonly onError: (error: Error) => void;
}

/** Rows of a live terminal that somebody else than a sink fills, with lines below them. */
export interface RowsView {
  add(name: string): ShownRow;
  /** Prints lines above the rows; harmless ones. */
  print(lines: readonly string[]): void;
  /** Takes rows and footer away, and gives the terminal back. Called once. */
  close(): void;
}

/** One stream. */
export interface ShownRow {
  take(event: StreamEvent): void;
  /** It is asked again; said until something comes. */
  retry(): void;
  /**
   * Takes the row away, and prints how its stream ended. Called once, and nothing after it.
   * @param place - where what came is, if anywhere
   */
  end(receipt: Receipt, place: string | undefined): void;
}
