import * as z from 'zod/mini';
import { dialect } from '../../../src/protocol/dialect.js';

const Part = z.looseObject({ type: z.string(), text: z.optional(z.string()) });

/** MCP's streamable HTTP, one request: notifications, then the answer. */
export const mcp = dialect({
  name: 'mcp',
  frame: z.looseObject({ id: z.optional(z.unknown()), result: z.optional(z.looseObject({ content: z.array(Part) })) }),
  decode: ({ result }, stream) => {
    if (result === undefined) return;
    for (const { type, text } of result.content) {
      if (type === 'text' && text) stream.emit({ type: 'text', text, index: 0, name: 'output' });
    }
    stream.prove('stop');
    stream.done();
  },
});
