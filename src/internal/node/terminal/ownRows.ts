import { listenToOutput } from '../../outputListeners.js';
import type { RowsSettings, RowsView, ShownRow } from '../../terminalView.js';
import { endingOf } from './endings.js';
import { type LivePart, liveScreenOf } from './liveScreen.js';
import { StreamRow } from './streamRow.js';

/** Rows of a live screen that the caller fills. */
export class OwnRows implements RowsView {
  readonly #settings: RowsSettings;
  readonly #screen: LivePart;
  readonly #stopListening: () => void;
  #isLost = false;

  constructor(settings: RowsSettings) {
    this.#settings = settings;
    this.#screen = liveScreenOf({ onError: this.#onError }, settings, settings.hasColors);
    this.#screen.setFooter(settings.footer);
    this.#stopListening = listenToOutput(settings.output, {
      onDrain: () => undefined, // the screen listens itself
      onClose: () => {
        this.#onError(new Error('The terminal was closed'));
      },
      onError: this.#onError,
    });
  }

  add(name: string): ShownRow {
    const screen = this.#screen;
    const { scheduler } = this.#settings;
    let isRetrying = false;
    const row = new StreamRow(
      () => name,
      screen.nextHue(),
      scheduler.now(),
      {},
      () => (isRetrying ? 'retrying' : undefined),
    );
    screen.add(row);
    return {
      take: (event) => {
        isRetrying = false;
        for (const news of row.take(event, scheduler.now())) screen.tell(row, news);
      },
      retry: () => {
        isRetrying = true;
      },
      end: (receipt, place) => {
        const { chars, timings } = receipt;
        const { firstContentMs: firstMs, totalMs } = timings;
        screen.remove(row, { ...endingOf(receipt), chars, firstMs, totalMs, place });
      },
    };
  }

  print(lines: readonly string[]): void {
    this.#screen.print(lines);
  }

  close(): void {
    this.#screen.leave(() => {
      this.#stopListening();
    });
  }

  readonly #onError = (error: Error): void => {
    if (this.#isLost) return;
    this.#isLost = true;
    this.#screen.abandon();
    this.#settings.onError(error);
  };
}
