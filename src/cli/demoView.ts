import type { Receipt, StreamEvent } from '../index.js';

/** One of the streams that the demo shows. */
export interface DemoStream {
  readonly name: string;
  /** What it is, in a few words. */
  readonly about: string;
}

/** How the demo shows its streams. */
export interface DemoView {
  /** Shows an event of the stream with this name. */
  show(name: string, event: StreamEvent): void;
  /** Shows what happened to the stream's connection, in a few words. */
  note(name: string, text: string): void;
  /** Shows how the stream ended. */
  end(name: string, receipt: Receipt): void;
  /** Shows what is held back, and gives the terminal back. Called once, whatever happened. */
  close(): void;
}
