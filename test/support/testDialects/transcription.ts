import * as z from 'zod/mini';
import { dialect } from '../../../src/protocol/dialect.js';

/** OpenAI's transcriptions: segments, then the whole text. */
export const transcription = dialect({
  name: 'transcription',
  frame: z.looseObject({ type: z.string(), text: z.optional(z.string()) }),
  decode: ({ type, text }, stream) => {
    if (type === 'transcript.text.segment' && text) stream.emit({ type: 'text', text, index: 0, name: 'output' });
    if (type === 'transcript.text.done') stream.prove('stop');
  },
  marker: '[DONE]',
});
