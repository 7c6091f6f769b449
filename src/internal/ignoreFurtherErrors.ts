import type { TextOutput } from './io.js';

const failed = new WeakSet<TextOutput>();

/**
 * An output that failed reports so again for each write that was under way, also when its sinks have gone: unheard, that would
 * end the process. One listener for each output; the first report was told, so nobody needs to know of the others.
 */
export function ignoreFurtherErrors(output: TextOutput): void {
  if (failed.has(output)) return;
  failed.add(output);
  output.on('error', () => undefined);
}
