import { lastValueFrom } from 'rxjs';
import { expect, it, onTestFinished } from 'vitest';
import { accumulate } from '../../src/operators/accumulate.js';
import { retryOnDisconnect } from '../../src/operators/retryOnDisconnect.js';
import { anthropic } from '../../src/providers/index.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { startServer } from '../../src/testing/index.js';

function frames(...events: readonly { readonly type: string }[]): string {
  return events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join('');
}

const start = (id: string) => ({ type: 'message_start', message: { id, role: 'assistant', content: [], usage: {} } });
const block = (index: number, content_block: object) => ({ type: 'content_block_start', index, content_block });
const delta = (index: number, piece: object) => ({ type: 'content_block_delta', index, delta: piece });
const stop = (index: number) => ({ type: 'content_block_stop', index });
const hidden = (data: string) => [block(0, { type: 'redacted_thinking', data }), stop(0)];
const text = (index: number, said: string) => [
  block(index, { type: 'text', text: '' }),
  delta(index, { type: 'text_delta', text: said }),
];
const end = [
  { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 3 } },
  { type: 'message_stop' },
];

it.each([
  ['before its first piece', frames(start('m1'), ...hidden('first+/=='))],
  ['in its text', frames(start('m1'), ...hidden('first+/=='), ...text(1, 'Ri'))],
  ['after three blocks', frames(start('m1'), ...hidden('first+/=='), ...text(1, 'Ri'), stop(1), ...text(2, 'vers'))],
])('a turn that is given back after an answer was lost %s is of one answer, whole', async (_, lost) => {
  const server = await startServer();
  onTestFinished(() => server.close());
  const call = anthropic({ apiKey: 'k', baseURL: server.url }).messages({
    model: 'claude-new-9',
    max_tokens: 9,
    messages: [{ role: 'user', content: 'Why?' }],
  });
  const answer = lastValueFrom(
    fromCall(call).pipe(retryOnDisconnect({ count: 1, delay: { initialMs: 0 } }), accumulate()),
  );
  const first = await server.accept();
  await first.write(lost);
  first.halfClose();
  const second = await server.accept();
  await second.end(frames(start('m2'), ...hidden('second+/=='), ...text(1, 'Water'), stop(1), ...end));
  const message = await answer;
  expect(message.toRequest()).toStrictEqual({
    role: 'assistant',
    content: [
      { type: 'redacted_thinking', data: 'second+/==' },
      { type: 'text', text: 'Water' },
    ],
  });
});
