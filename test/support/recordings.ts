import type { Dialect } from '../../src/protocol/dialect.js';
import {
  anthropicDialect,
  chatDialect,
  cohereDialect,
  geminiDialect,
  replicateDialect,
  responsesDialect,
} from '../../src/providers/index.js';
import type { WireEvent } from '../../src/types.js';
import { recorded, type Recording } from './shared.js';
import { assistants } from './testDialects/assistants.js';
import { mcp } from './testDialects/mcp.js';
import { transcription } from './testDialects/transcription.js';
import { watsonx } from './testDialects/watsonx.js';
import { writer } from './testDialects/writer.js';

/** The dialect of each format that was recorded. */
export const dialects: Readonly<Record<string, Dialect>> = {
  anthropic: anthropicDialect(),
  assistant: assistants,
  chat: chatDialect(),
  cohere: cohereDialect(),
  completion: chatDialect(),
  gemini: geminiDialect(),
  mcp,
  replicate: replicateDialect(),
  responses: responsesDialect(),
  transcript: transcription,
  watsonx,
  writer,
};

/** A recording as a body of server-sent events; one that is stored without its framing gets it here. */
export function bodyOf(recording: Recording): Uint8Array {
  const bytes = recorded(recording);
  if (recording.storage === 'raw-sse') return bytes;
  const frames = bytes
    .toString()
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const { type } = JSON.parse(line) as { readonly type?: unknown };
      const isNamed = typeof type === 'string' && recording.format !== 'gemini';
      return `${isNamed ? `event: ${type}\n` : ''}data: ${line}\n\n`;
    });
  return Buffer.from(frames.join(''));
}

type Fields = Readonly<Record<string, unknown>>;

/** What ends an answer in each format that says so in one frame, in the words of its documentation. */
const ENDS: Readonly<Record<string, (frame: Fields, event: string) => boolean>> = {
  anthropic: ({ type }) => type === 'message_stop',
  assistant: (_, event) => event === 'thread.run.completed' || event === 'thread.run.incomplete',
  cohere: ({ type }) => type === 'message-end',
  gemini: ({ candidates }) => listOf(candidates).some(({ finishReason }) => typeof finishReason === 'string'),
  mcp: ({ result }) => result !== undefined,
  replicate: (_, event) => event === 'done',
  responses: ({ type }) => type === 'response.completed' || type === 'response.incomplete',
  transcript: ({ type }) => type === 'transcript.text.done',
  watsonx: ({ results }) => listOf(results).some(({ stop_reason: reason }) => reason !== 'not_finished'),
};

function listOf(value: unknown): readonly Fields[] {
  return Array.isArray(value) ? (value as readonly Fields[]) : [];
}

/**
 * The event of the wire with which a stream proves its answer whole, found without any dialect; Infinity where the format has no such
 * frame, or the stream has none. Failures are not looked at.
 */
export function proofOf({ format }: Recording, wire: readonly WireEvent[]): number {
  const unfinished = new Set<unknown>();
  const isEnd = (frame: Fields, event: string): boolean => {
    if (format !== 'chat' && format !== 'completion') return ENDS[format]?.(frame, event) ?? false;
    const choices = listOf(frame['choices']);
    for (const { index, finish_reason: reason } of choices) {
      if (typeof reason === 'string') unfinished.delete(index);
      else unfinished.add(index);
    }
    return choices.length > 0 && unfinished.size === 0;
  };
  const at = wire.findIndex((event) => {
    if (event.type !== 'event') return false;
    if (event.data === '[DONE]') return true;
    return isEnd(format === 'replicate' ? {} : (JSON.parse(event.data) as Fields), event.event);
  });
  return at === -1 ? Infinity : at;
}
