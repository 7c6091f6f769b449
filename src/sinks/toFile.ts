import { io } from '#io';
import type { OperatorFunction } from 'rxjs';
import { requirePath } from '../internal/fileName.js';
import { FINISH_REASONS } from '../internal/finishReasons.js';
import { FileSink, type ToFileOptions } from '../internal/fileSink.js';
import { operate } from '../internal/operate.js';
import { requireAtLeast, requireOneOf } from '../internal/require.js';
import type { Receipt, StreamEvent } from '../types.js';

export type { ToFileOptions };

/**
 * Writes one stream's text to a file that has its name only when the stream is complete.
 *
 * ```text
 * source    -a--b--c|
 * result    ---------(r|)      r = receipt; the text is in `path`
 *
 * source    -a--b--#
 * result    ---------#         the error carries the receipt; the text so far is in `path.partial`
 * ```
 * Writes through to `<path>.partial` as text arrives, and renames when the outcome is complete. Takes StreamEvents (the text of
 * the first output, or of the one selected) or strings.
 * Emits one receipt, after the last byte is out, and completes: when the stream is complete, or stopped by `stopOn`. Errors with
 * the source's error, or SinkError where the file cannot be written, or InterruptedError where the source completed before its
 * proven end, or TypeError where two streams at once or two keys come; each carries `receipt`. A `restart` takes back the text
 * of the answer that begins anew.
 * Unsubscribing stops the source; what was received is still written and the file closed; nothing is emitted. A complete
 * stream that is left while its file is being finished is published all the same.
 * Holds at most `maxWaitingChars` plus one item of a source that stops when it is paused. A slow disk pauses the stream's
 * socket; what the socket had delivered by then is held too.
 *
 * @example
 * ```ts
 * fromCall(api.chat({ model, messages })).pipe(toFile('guide.md')).subscribe((receipt) => log(receipt));
 * ```
 * @example A name that comes from somewhere else
 * ```ts
 * fromCall(api.chat({ model, messages })).pipe(toFile('reports/today.md', { within: 'out', parents: true })).subscribe(log);
 * ```
 * @param path - of the finished file
 * @param options - see {@link ToFileOptions}
 * @returns an operator; nothing is opened, checked or asked for before it is subscribed to
 * @throws TypeError outside Node, for an option that is none of its words, and for a path that is none or leads out of `within`;
 *   RangeError for a limit below 1
 * @public
 */
export function toFile(path: string, options: ToFileOptions = {}): OperatorFunction<StreamEvent | string, Receipt> {
  const { files } = io;
  if (files === undefined) {
    throw new TypeError(
      'toFile needs a file system, which only Node has; in a page collect() or toTokens() give the text',
    );
  }
  const { ifExists = 'error', onPartial = 'replace', publishOn = FINISH_REASONS, maxWaitingChars = 65_536 } = options;
  requirePath('path', path);
  requireOneOf('ifExists', ifExists, ['error', 'skip', 'overwrite']);
  requireOneOf('onPartial', onPartial, ['replace', 'keep', 'error']);
  for (const reason of publishOn) requireOneOf('publishOn', reason, FINISH_REASONS);
  requireAtLeast(1, { maxWaitingChars });
  const { within } = options;
  if (within !== undefined) {
    requirePath('within', within);
    const folder = files.resolve(within);
    if (!files.isBelow(folder, files.resolve(path, folder))) {
      throw new TypeError(`path must stay inside the folder ${folder} (within), got ${JSON.stringify(path)}`);
    }
  }
  return operate((source, subscriber) => {
    new FileSink(files, files.resolve(path, within), options, subscriber).start(source);
  });
}
