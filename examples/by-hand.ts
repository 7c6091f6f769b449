/** Any URL, any dialect: the stages that `fromCall` puts together. `npx tsx examples/by-hand.ts URL` */
import { decode, dialect, fromHTTP, parseSSE, toStdout } from 'millrace';
import * as z from 'zod/mini';

/** An API whose frames are `{"piece": "text"}`, and whose last one is `{"over": true}`. */
const pieces = dialect({
  name: 'pieces',
  frame: z.looseObject({ piece: z.optional(z.string()), over: z.optional(z.boolean()) }),
  start: () => undefined,
  decode: ({ piece, over }, stream) => {
    if (piece !== undefined && piece !== '') stream.emit({ type: 'text', text: piece, index: 0, name: 'output' });
    if (over === true) {
      stream.prove('stop');
      stream.done();
    }
  },
});

const [url = 'http://127.0.0.1:8080/stream'] = process.argv.slice(2);
fromHTTP(url)
  .pipe(parseSSE(), decode(pieces), toStdout())
  .subscribe({
    next: ({ outcome, chars }) => {
      console.error(`\n${outcome}, ${String(chars)} characters`);
    },
    error: (error: unknown) => {
      console.error(error);
      process.exitCode = 1;
    },
  });
