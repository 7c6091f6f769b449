import { map, type OperatorFunction } from 'rxjs';
import type { StreamEvent, WarningEvent } from '../../index.js';
import {
  addToMessage,
  emptyMessage,
  type MessageContent,
  type MessageOutput,
  type MessageText,
} from '../../internal/message.js';
import { link, operate } from '../../internal/operate.js';
import { outputAsText } from '../outputAsText.js';
import type { OutputFormat } from './fileJob.js';

/**
 * Writes a stream in the format of its file; `toFile` below takes what comes.
 *
 * ```text
 * source          -a-r-b-(f|)     a, b = text, r = restart, f = finish
 * text            -a-r-b-(f|)     events, of which the sink takes the text
 * events          -x-r-y-(z|)     x, y, z = lines of JSON
 * json            -------(d|)     d = one document
 * ```
 * A restart passes as the event that it is, so that the sink takes back what it has written; a document is not begun before the end.
 * Completes with the source. Errors with the source's error; `json` emits the document of what came before, so that nothing received
 * is lost. Unsubscribing stops the source. `json` holds the whole answer, the others nothing.
 */
export function formatOutput(format: OutputFormat): OperatorFunction<StreamEvent, StreamEvent | string> {
  switch (format) {
    case 'text':
      return outputAsText();
    case 'events':
      return map((event) => (event.type === 'restart' ? event : `${JSON.stringify(event)}\n`));
    case 'json':
      return asDocument();
  }
}

function asDocument(): OperatorFunction<StreamEvent, string> {
  return operate((source, subscriber) => {
    const nothing = emptyMessage();
    let content = nothing;
    let warnings: WarningEvent[] = [];
    const emit = (): void => {
      subscriber.next(`${JSON.stringify(documentOf(content, warnings), null, 2)}\n`);
    };
    source.subscribe(
      link<StreamEvent>(subscriber, {
        next: (event) => {
          content = addToMessage(content, event);
          if (event.type === 'restart') warnings = [];
          if (event.type === 'warning') warnings.push(event);
        },
        error: (error) => {
          if (content !== nothing || warnings.length > 0) emit();
          subscriber.error(error);
        },
        complete: () => {
          emit();
          subscriber.complete();
        },
      }),
    );
  });
}

/** Every member is there, whatever came, so that a program need not ask. */
function documentOf(content: MessageContent, warnings: readonly WarningEvent[]): object {
  const { outputs, thinking, toolCalls, toolResults, usage, finish, restarts } = content;
  const spoken = outputs.filter((output): output is MessageText => output.type !== 'media');
  const texts = spoken.filter(({ type }) => type === 'text');
  // As `toFile` does: the first output, and no other is mixed into it.
  const first = texts.find(({ alternative }) => alternative !== true);
  const refusals = spoken.filter(({ type, alternative }) => type === 'refusal' && alternative !== true);
  return {
    text: first?.content ?? '',
    // Those of which one text tells nothing.
    ...(texts.length > (first === undefined ? 0 : 1) && { outputs: texts.map(withoutStage) }),
    thinking,
    refusal: refusals.map(({ content: refusal }) => refusal).join(''),
    toolCalls: toolCalls.map(withoutType),
    ...(toolResults !== undefined && { toolResults: toolResults.map(withoutType) }),
    output: content.output ?? null,
    media: outputs.filter(({ type }) => type === 'media').map(withoutStage),
    usage: usage ?? null,
    finish: finish === undefined ? null : withoutType(finish),
    warnings: warnings.map(withoutType),
    ...(restarts > 0 && { restarts }),
  };
}

function withoutType({ type: _, ...rest }: { readonly type: string }): object {
  return rest;
}

/** What is written is done. */
function withoutStage({ type: _, done: __, ...rest }: MessageOutput): object {
  return rest;
}
