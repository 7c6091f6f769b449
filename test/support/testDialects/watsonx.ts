import * as z from 'zod/mini';
import { dialect } from '../../../src/protocol/dialect.js';

/** watsonx.ai's text generation: a stop reason on every frame, `not_finished` until the last. */
export const watsonx = dialect({
  name: 'watsonx',
  frame: z.looseObject({
    results: z.array(z.looseObject({ generated_text: z.string(), stop_reason: z.optional(z.string()) })),
  }),
  decode: ({ results }, stream) => {
    for (const { generated_text: text, stop_reason: reason } of results) {
      if (text !== '') stream.emit({ type: 'text', text, index: 0, name: 'output' });
      if (reason === undefined || reason === 'not_finished') continue;
      stream.prove(reason === 'max_tokens' ? 'length' : 'stop', reason);
    }
  },
});
