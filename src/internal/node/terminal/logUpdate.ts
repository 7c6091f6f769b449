import { createLogUpdate } from 'log-update';

/** Draws lines over those that it has drawn before. */
export interface LogUpdate {
  (text: string): void;
  /** Takes back what is there. */
  clear(): void;
  /** Forgets what is there. */
  done(): void;
}

/**
 * log-update on something that takes its text. It neither hides the cursor, which it would do on standard error whatever it draws on,
 * nor breaks lines: that is done before, with the same measure that everything else is laid out by.
 */
export function makeLogUpdate(output: { readonly rows: number; write(text: string): void }): LogUpdate {
  const stream = {
    columns: 1_000_000,
    isTTY: false,
    get rows() {
      return output.rows;
    },
    write: (text: string) => {
      output.write(text);
      return true;
    },
  };
  // It uses no more of a stream than that.
  return createLogUpdate(stream as unknown as NodeJS.WritableStream, { showCursor: true });
}
