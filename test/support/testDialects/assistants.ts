import * as z from 'zod/mini';
import { dialect } from '../../../src/protocol/dialect.js';

const Content = z.looseObject({ type: z.string(), text: z.optional(z.looseObject({ value: z.optional(z.string()) })) });

/** OpenAI's assistants: the states of a run, the message that it writes, and `[DONE]` in an event named `done`. */
export const assistants = dialect({
  name: 'assistants',
  frame: z.looseObject({
    id: z.string(),
    status: z.optional(z.nullable(z.string())),
    delta: z.optional(z.looseObject({ content: z.optional(z.array(Content)) })),
    last_error: z.optional(z.nullable(z.looseObject({ code: z.string(), message: z.string() }))),
  }),
  decode: ({ id, status, delta, last_error: error }, stream) => {
    if (stream.event === 'thread.message.delta') {
      for (const { text } of delta?.content ?? []) {
        if (text?.value) stream.emit({ type: 'text', text: text.value, index: 0, name: 'output' });
      }
      return;
    }
    const [, state] = /^thread\.run\.(\w+)$/.exec(stream.event) ?? [];
    if (state === undefined || typeof status !== 'string') return;
    if (state === 'failed') stream.fail({ code: error?.code, type: undefined, message: error?.message }, { status });
    stream.emit({ type: 'status', status, id, terminal: state === 'completed' || state === 'incomplete' });
    if (state === 'completed') stream.prove('stop', status);
    if (state === 'incomplete') stream.prove('length', status);
  },
  marker: '[DONE]',
});
