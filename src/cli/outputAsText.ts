import { defer, map, type OperatorFunction } from 'rxjs';
import type { StreamEvent } from '../index.js';

/**
 * Many tasks answer with a result and no text: it is shown as JSON then, in place of the event.
 *
 * ```text
 * source    -o-(f|)     o = a final output { value: [1] }, f = finish
 * result    -j-(f|)     j = '[\n  1\n]\n'
 * ```
 * Where text has come, the output says it once more and passes as the event that it is. A restart takes the text back.
 */
export function outputAsText(): OperatorFunction<StreamEvent, StreamEvent | string> {
  return (events) =>
    defer(() => {
      let hasText = false;
      return events.pipe(
        map((event) => {
          if (event.type === 'restart') hasText = false;
          // Another answer is not written.
          hasText ||= event.type === 'text' && event.alternative !== true;
          if (event.type !== 'output' || !event.final || hasText) return event;
          return typeof event.value === 'string' ? event.value : `${JSON.stringify(event.value, null, 2)}\n`;
        }),
      );
    });
}
