import type { TerminalOutput } from '../../io.js';

/**
 * Writes; an output that throws has failed as one that says so.
 * @param written - called once
 * @returns whether there is room for more
 */
export function writeTo(output: TerminalOutput, text: string, written: (error: Error | undefined) => void): boolean {
  try {
    return output.write(text, (error) => {
      written(error ?? undefined);
    });
  } catch (error) {
    written(error instanceof Error ? error : new Error(String(error)));
    return false;
  }
}
