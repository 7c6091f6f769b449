import type { ScriptedAnswer } from '../scriptedAnswer.js';
import { splitIntoPieces } from '../wire/splitIntoPieces.js';
import type { WireAnswer, WireError } from '../wire/wireAnswer.js';

/** What a poll finds: `open` while it runs. */
export type WorkState = 'open' | 'completed' | 'failed' | 'cancelled';

/** A job, task or turn that was created by one request and is read by others. */
export class Work {
  /** Steps of its stream that have happened, however many connections have read them. */
  position = 0;
  readonly answer: WireAnswer;
  readonly #script: ScriptedAnswer;
  readonly #cancelled = new AbortController();
  #state: WorkState = 'open';
  #polls = 0;
  #isFaultDue = true;

  constructor(answer: WireAnswer, script: ScriptedAnswer) {
    this.answer = answer;
    this.#script = script;
  }

  get state(): WorkState {
    return this.#state;
  }

  get cancelled(): AbortSignal {
    return this.#cancelled.signal;
  }

  /**
   * The script of the next connection: a fault happens to the first one alone.
   * @param options - `keepsFailures` where a server stores a reported failure and says it again
   */
  takeScript({ keepsFailures = false }: { readonly keepsFailures?: boolean } = {}): ScriptedAnswer {
    const { fault, ...script } = this.#script;
    if (fault === undefined || (keepsFailures && fault.kind === 'in-band-error')) return this.#script;
    if (!this.#isFaultDue) return script;
    this.#isFaultDue = false;
    return { ...script, fault };
  }

  /** The state that one more poll finds; work finishes by being polled often enough. */
  poll(): WorkState {
    if (this.#state !== 'open') return this.#state;
    this.#polls += 1;
    const { pollsUntilDone = 1, result } = this.#script;
    if (this.#polls > pollsUntilDone) this.finish(result !== undefined && 'error' in result ? 'failed' : 'completed');
    return this.#state;
  }

  /** The first end counts: what was cancelled does not complete. */
  finish(state: Exclude<WorkState, 'open'>): void {
    if (this.#state !== 'open') return;
    this.#state = state;
    if (state === 'cancelled') this.#cancelled.abort();
  }

  /** The stored answer, where polling finds another one than the stream showed. */
  get stored(): WireAnswer {
    const { result } = this.#script;
    return result !== undefined && 'text' in result
      ? { ...this.answer, pieces: splitIntoPieces(result.text) }
      : this.answer;
  }

  /** Why it failed, in the script's words or `usual` ones. */
  failure(usual: WireError): WireError {
    const { result, error } = this.#script;
    const words = (result !== undefined && 'error' in result ? result.error : error) ?? {};
    return { code: words.code ?? usual.code, message: words.message ?? usual.message };
  }
}
