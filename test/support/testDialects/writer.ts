import * as z from 'zod/mini';
import { dialect } from '../../../src/protocol/dialect.js';

/** Writer's completions: text, and no sign of an end but that of the HTTP body. */
export const writer = dialect({
  name: 'writer',
  frame: z.looseObject({ value: z.string() }),
  decode: ({ value: text }, stream) => {
    if (text !== '') stream.emit({ type: 'text', text, index: 0, name: 'output' });
  },
  end: 'eof',
});
