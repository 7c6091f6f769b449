import { type MonoTypeOperatorFunction, tap } from 'rxjs';
import type { StreamEvent } from '../types.js';

/** One callback per type of event; those left out are not called. @public */
export type EventCallbacks = {
  readonly [Type in StreamEvent['type']]?: ((event: Extract<StreamEvent, { readonly type: Type }>) => void) | undefined;
};

/**
 * Calls a typed callback for each event of a type, and passes every event on.
 *
 * ```text
 * source    -a-t-b-(f|)      a, b = text; t = thinking; f = finish
 * text       a   b
 * result    -a-t-b-(f|)
 * ```
 * Emits, completes and errors as the source does; a callback that throws is an error. Unsubscribing stops the source. Holds
 * nothing.
 *
 * @example
 * ```ts
 * fromCall(call).pipe(
 *   tapEvents({ status: ({ status }) => log(status), finish: ({ reason }) => log(reason) }),
 *   toFile('answer.txt'),
 * ).subscribe();
 * ```
 * @param callbacks - by event type, such as `{ text, thinking, 'tool-call', finish }`
 * @returns an operator
 * @throws TypeError for a callback that is no function
 * @public
 */
export function tapEvents(callbacks: EventCallbacks): MonoTypeOperatorFunction<StreamEvent> {
  const byType: Map<string, (event: StreamEvent) => void> = new Map();
  for (const [type, callback] of Object.entries(callbacks)) {
    if (callback === undefined) continue;
    if (typeof callback !== 'function') throw new TypeError(`The callback for '${type}' must be a function`);
    byType.set(type, callback as (event: StreamEvent) => void);
  }
  return tap((event) => byType.get(event.type)?.(event));
}
