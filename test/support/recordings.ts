import type { Dialect } from '../../src/protocol/dialect.js';
import {
  anthropicDialect,
  chatDialect,
  cohereDialect,
  geminiDialect,
  replicateDialect,
  responsesDialect,
} from '../../src/providers/index.js';
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
