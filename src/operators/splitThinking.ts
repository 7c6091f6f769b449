import type { MonoTypeOperatorFunction } from 'rxjs';
import { link, operate } from '../internal/operate.js';
import { selectOutput } from '../internal/selectOutput.js';
import { InlineThinking, type ThinkingTag, ThinkingTags } from '../protocol/inlineThinking.js';
import type { RestartEvent, StreamEvent, TextEvent } from '../types.js';

/** What `splitThinking` takes for thinking. @public */
export interface SplitThinkingOptions {
  /**
   * What stands around thinking: names of tags (`'think'` for `<think>…</think>`), or the two texts themselves. Several names may
   * be given; thinking ends with the tag that began it. Capitals count.
   * @defaultValue `['think']`, as DeepSeek, Qwen and most others write it
   */
  readonly tags?: readonly string[] | ThinkingTag | undefined;
}

/** One output's text. */
interface Output {
  readonly thinking: InlineThinking;
  /** The one that came last: what is held is emitted in its shape. */
  event: TextEvent;
  readonly isFirst: boolean;
}

/** Beyond this many outputs the one that began first is given up; chosen, above what any API gives. */
const MAX_OUTPUTS = 1024;

/**
 * Tells thinking from text where a model writes both into its text, between tags.
 *
 * ```text
 * source    -a--b--c--(f|)     a = text 'x<thi', b = text 'nk>y', c = text '</think>z', f = finish
 * result    -x--y--z--(f|)     x = text 'x', y = thinking 'y', z = text 'z'
 * ```
 * Tags may be cut anywhere, stand anywhere and come any number of times; how text was cut never changes what is thinking. The tags
 * themselves are left out, every other character is kept. Each output, by `index` and `name`, is read for itself. The thinking of
 * an output named `output` is named `thinking`, that of another has the output's name.
 *
 * Emits `text` and `thinking`, never empty; other events as they come, in their order. What may be the beginning of a tag waits for the
 * next text. Where it was none it is emitted then, or before what ends its output: `finish`, a final `output`, and of the same
 * choice thinking, a refusal, media or a tool call. `restart` empties what is held, and passes with the characters that it voids
 * counted as they were emitted here. Completes after emitting what is held. Errors with the source's error, after emitting what is
 * held, unless that is all that came: the beginning of a tag that opens an answer is no text. Unsubscribing stops the source and drops
 * what is held. Holds less than a tag for each of 1,024 outputs; where more have begun, what is held of the first one is emitted, and
 * it is read anew if it goes on. Stands below `retryOnDisconnect`, since each subscription begins outside of thinking.
 *
 * @example A model behind a server that does not tell them apart
 * ```ts
 * fromCall(call).pipe(splitThinking({ tags: ['think', 'reasoning'] }), toTokens()).subscribe((token) => log(token));
 * ```
 * @param options - see {@link SplitThinkingOptions}
 * @returns an operator
 * @throws TypeError for `tags` that are neither names nor two texts; RangeError for none at all
 * @public
 */
export function splitThinking(options: SplitThinkingOptions = {}): MonoTypeOperatorFunction<StreamEvent> {
  const tags = new ThinkingTags(readTags(options.tags ?? ['think']));
  return operate((source, subscriber) => {
    const outputs = new Map<string, Output>();
    /** Those of them that hold something. */
    const holding = new Set<Output>();
    let counts = new Counts();
    let waiting: StreamEvent[] = [];
    let isEmitting = false;
    let finish: (() => void) | undefined;

    /** Emits in order, also where the subscriber feeds the source from inside `next`. */
    const emit = (): void => {
      if (isEmitting) return;
      isEmitting = true;
      try {
        while (waiting.length > 0 && !subscriber.closed) {
          const batch = waiting;
          waiting = [];
          for (const event of batch) subscriber.next(event);
        }
      } finally {
        isEmitting = false;
      }
      finish?.();
    };
    const sayFor = (output: Output) => (type: 'text' | 'thinking', text: string) => {
      const { event, isFirst } = output;
      counts.said(type, text, isFirst);
      if (type === 'text') waiting.push(text === event.text ? event : { ...event, text });
      else waiting.push({ ...event, type, text, name: event.name === 'output' ? 'thinking' : event.name });
    };
    const end = (output: Output, how: 'flush' | 'release'): void => {
      holding.delete(output);
      output.thinking[how](sayFor(output));
    };
    const endAll = (how: 'flush' | 'release'): void => {
      for (const output of holding) end(output, how);
    };
    const outputOf = (event: TextEvent): Output => {
      const key = `${String(event.index)} ${event.name}`;
      const isFirst = counts.isFirst(event);
      const known = outputs.get(key);
      if (known !== undefined) {
        known.event = event;
        return known;
      }
      const output = { thinking: new InlineThinking(tags), event, isFirst };
      outputs.set(key, output);
      const [oldest] = outputs;
      if (outputs.size > MAX_OUTPUTS && oldest !== undefined) {
        outputs.delete(oldest[0]);
        end(oldest[1], 'flush');
      }
      return output;
    };
    const split = (event: TextEvent): void => {
      const output = outputOf(event);
      counts.came(event.text, output.isFirst);
      output.thinking.push(event.text, sayFor(output));
      if (output.thinking.isHolding) holding.add(output);
      else holding.delete(output);
    };
    const hear = (event: StreamEvent): void => {
      switch (event.type) {
        case 'text':
          split(event);
          return;
        case 'thinking':
        case 'refusal':
        case 'media':
        case 'tool-call-delta':
        case 'tool-call':
          for (const output of holding) if (output.event.index === event.index) end(output, 'flush');
          break;
        case 'output':
          if (event.final) endAll('flush');
          break;
        case 'finish':
          endAll('flush');
          break;
        case 'restart':
          outputs.clear();
          holding.clear();
          waiting.push(counts.restarted(event));
          counts = new Counts();
          return;
        default: // of no output: nothing waits for it, and it waits for nothing
      }
      waiting.push(event);
    };
    subscriber.add(() => {
      outputs.clear();
      holding.clear();
      waiting = [];
    });
    source.subscribe(
      link<StreamEvent>(subscriber, {
        next: (event) => {
          hear(event);
          emit();
        },
        error: (error) => {
          endAll('release');
          finish = () => {
            subscriber.error(error);
          };
          emit();
        },
        complete: () => {
          endAll('flush');
          finish = () => {
            subscriber.complete();
          };
          emit();
        },
      }),
    );
  });
}

/** What became thinking, or was a tag, since the answer began: a restart voids so much less text. */
class Counts {
  readonly isFirst: ReturnType<typeof selectOutput> = selectOutput();
  /** Text of the first output that came and was not emitted as such. */
  #lost = 0;
  #thinking = 0;

  came(text: string, isFirst: boolean): void {
    if (isFirst) this.#lost += text.length;
  }

  said(type: 'text' | 'thinking', text: string, isFirst: boolean): void {
    if (type === 'thinking') this.#thinking += text.length;
    else if (isFirst) this.#lost -= text.length;
  }

  restarted(event: RestartEvent): RestartEvent {
    if (this.#lost === 0 && this.#thinking === 0) return event;
    const chars = Math.max(0, event.discard.chars - this.#lost);
    const thinkingChars = (event.discard.thinkingChars ?? 0) + this.#thinking;
    return { ...event, discard: thinkingChars === 0 ? { chars } : { chars, thinkingChars } };
  }
}

function readTags(tags: unknown): readonly ThinkingTag[] {
  if (Array.isArray(tags)) {
    if (tags.length === 0) throw new RangeError("tags must have at least one name, such as 'think', got none");
    return [...new Set(tags as readonly unknown[])].map(tagNamed);
  }
  const { open, close } = (tags ?? {}) as Partial<Record<keyof ThinkingTag, unknown>>;
  if (typeof open === 'string' && open !== '' && typeof close === 'string' && close !== '') return [{ open, close }];
  throw new TypeError(`tags must be a list of names, or { open, close } with two texts, got ${typeof tags}`);
}

function tagNamed(name: unknown): ThinkingTag {
  if (typeof name === 'string' && /^[^\s<>/]+$/.test(name)) return { open: `<${name}>`, close: `</${name}>` };
  const got = typeof name === 'string' ? `'${name}'` : typeof name;
  throw new TypeError(`tags must be names without < and >, such as 'think', or { open, close }, got ${got}`);
}
