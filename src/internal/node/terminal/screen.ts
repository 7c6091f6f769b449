import type { RowEnding } from './endings.js';
import type { News, StreamRow } from './streamRow.js';

/** Where one sink's streams are shown. */
export interface Screen {
  /** A number for the next row, by which its colour is chosen. */
  nextHue(): number;
  add(row: StreamRow): void;
  tell(row: StreamRow, news: News): void;
  /** Takes a row away. @param ending - what is left of it; nothing where it is `undefined` */
  remove(row: StreamRow, ending: RowEnding | undefined): void;
  /** @param words - tells the states of streams that have no row, since their names are not known yet */
  setMore(words: () => readonly string[]): void;
  onDrain(): void;
  /** There are no more rows of this sink. @param written - called once, when what there is to show is out */
  leave(written: () => void): void;
  /** Nothing is written any more. */
  abandon(): void;
}
