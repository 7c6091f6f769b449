import type { OperatorFunction } from 'rxjs';
import { ProviderError } from '../errors.js';
import { isAskedAgain } from '../internal/flow.js';
import { link, operate } from '../internal/operate.js';
import { requireOneOf } from '../internal/require.js';
import { type OutputSelection, selectOutput } from '../internal/selectOutput.js';
import type { StreamEvent } from '../types.js';

/** Which text `toTokens` gives. @public */
export interface ToTokensOptions extends OutputSelection {
  /** `'output'`: the answer. `'thinking'`: the model's reasoning. @defaultValue `'output'` */
  readonly channel?: 'output' | 'thinking' | undefined;
  /**
   * What to do when the answer begins anew after some of it was emitted. `'error'`: fail, since a string cannot be unsaid.
   * `'ignore'`: go on with the new answer's text. A function is told how many characters are void, and then goes on.
   * @defaultValue `'error'`
   */
  readonly onRestart?: 'error' | 'ignore' | ((discard: { readonly chars: number }) => void) | undefined;
}

/**
 * Gives the text of one output as strings, as the model emitted them.
 *
 * ```text
 * source    -a-t--b-(f|)      a, b = text; t = thinking; f = finish
 * result    -x----y-|         x = a.text, y = b.text
 * ```
 * Emits the first output's text, or that of the one selected; never two mixed. Completes with the source. Errors with the
 * source's error; with ProviderError when the answer begins anew (see `onRestart`). Unsubscribing stops the source. Holds nothing.
 *
 * @example
 * ```ts
 * fromCall(api.chat({ model, messages })).pipe(toTokens()).subscribe((token) => process.stdout.write(token));
 * ```
 * @param options - see {@link ToTokensOptions}
 * @returns an operator
 * @throws TypeError for a channel that is none
 * @public
 */
export function toTokens(options: ToTokensOptions = {}): OperatorFunction<StreamEvent, string> {
  const { channel = 'output', onRestart = 'error' } = options;
  requireOneOf('channel', channel, ['output', 'thinking']);
  if (typeof onRestart !== 'function') requireOneOf('onRestart', onRestart, ['error', 'ignore']);
  const type = channel === 'output' ? 'text' : 'thinking';
  return operate((source, subscriber) => {
    let isSelected = selectOutput(options);
    let chars = 0;
    // Tokens of the attempts before came from another subscription: then only the event knows how many.
    let isAnotherAttempt = isAskedAgain();
    source.subscribe(
      link<StreamEvent>(subscriber, {
        next: (event) => {
          if (event.type === type) {
            if (!isSelected(event)) return;
            chars += event.text.length;
            subscriber.next(event.text);
          } else if (event.type === 'restart') {
            isSelected = selectOutput(options); // the new answer may name its outputs otherwise
            const { chars: text, thinkingChars: thinking = 0 } = event.discard;
            const discarded = Math.max(chars, isAnotherAttempt ? (channel === 'output' ? text : thinking) : 0);
            chars = 0;
            isAnotherAttempt = false;
            if (discarded === 0) return;
            if (onRestart === 'error') throw restarted(event.because);
            if (onRestart !== 'ignore') onRestart({ chars: discarded });
          }
        },
      }),
    );
  });
}

function restarted(because: string): ProviderError {
  return new ProviderError(
    `The answer began anew (${because}) after tokens were emitted; toTokens({ onRestart }) says what to do, ` +
      'and sinks that take StreamEvents can start over',
    { retryable: false, providerCode: 'restart' },
  );
}
