import { lastValueFrom, toArray } from 'rxjs';
import { expect, it } from 'vitest';
import * as z from 'zod/mini';
import type { Call, ToolPlan } from '../../src/protocol/call.js';
import { openai } from '../../src/providers/openai.js';
import { runTools } from '../../src/sources/runTools.js';
import { startServer } from '../../src/testing/index.js';
import { frame } from '../support/decodeAll.js';

const messages = [{ role: 'user', content: 'Is it raining in Lyon?' }];
const tools = [{ type: 'function', function: { name: 'weather' } }];

const bodyOf = (call: Call): Record<string, unknown> =>
  JSON.parse(call.stream('').body ?? '') as Record<string, unknown>;

function planOf({ tools: plan }: Call): Extract<ToolPlan, { by: 'ask' }> {
  if (plan?.by !== 'ask') throw new Error('no plan to ask');
  return plan;
}

const turn = {
  role: 'assistant',
  content: null,
  tool_calls: [{ id: 'c1', type: 'function', function: { name: 'weather', arguments: '{}' } }],
} as const;

it('sends the conversation, the turn and a message for each result, and asks for the rest again as it was', () => {
  const first = openai({ apiKey: 'k' }).chat({ model: 'm', messages, tools, temperature: 0 });
  const second = planOf(first).next(turn, [
    { id: 'c1', name: 'weather', text: 'rain' },
    { id: 'c2', name: 'other', text: 'boom', isError: true },
  ]);
  expect(bodyOf(second)).toStrictEqual({
    ...bodyOf(first),
    messages: [
      ...messages,
      turn,
      { role: 'tool', tool_call_id: 'c1', content: 'rain' },
      { role: 'tool', tool_call_id: 'c2', content: 'boom' },
    ],
  });
});

it('goes on from round to round, and changes no request', () => {
  const first = openai({ apiKey: 'k' }).chat({ model: 'm', messages });
  const before = bodyOf(first);
  const second = planOf(first).next(turn, [{ id: 'c1', name: 'weather', text: 'rain' }]);
  const third = planOf(second).next({ role: 'assistant', content: 'It is.' }, []);
  expect(bodyOf(third)['messages']).toHaveLength(4);
  expect(bodyOf(second)['messages']).toHaveLength(3);
  expect(bodyOf(first)).toStrictEqual(before);
});

it('answers the deprecated form by name', () => {
  const call = openai({ apiKey: 'k' }).chat({ model: 'm', messages });
  const said = { role: 'assistant', content: null, function_call: { name: 'weather', arguments: '{}' } };
  const next = planOf(call).next(said, [{ id: 'function_call', name: 'weather', text: 'rain' }]);
  expect(bodyOf(next)['messages']).toStrictEqual([
    ...messages,
    said,
    { role: 'function', name: 'weather', content: 'rain' },
  ]);
});

it('runs a tool and reads the answer, over sockets', async () => {
  await using server = await startServer();
  const api = openai({ apiKey: 'k', baseURL: `${server.url}/v1` });
  const parameters = z.object({ city: z.string() });
  const run = ({ city }: { city: string }): string => `rain in ${city}`;
  const events = lastValueFrom(
    runTools(api.chat({ model: 'm', messages, tools }), { weather: { parameters, run } }).pipe(toArray()),
  );
  const part = { index: 0, id: 'c1', type: 'function', function: { name: 'weather', arguments: '{ "city":"Lyon" }' } };
  const answer = (...deltas: readonly [unknown, string | null][]): string =>
    [...deltas.map(([delta, finish_reason]) => ({ choices: [{ index: 0, delta, finish_reason }] })), '[DONE]']
      .map(frame)
      .join('');

  await (await server.accept()).end(answer([{ tool_calls: [part] }, null], [{}, 'tool_calls']));
  const second = await server.accept();
  expect(second.request.body).toMatchObject({
    messages: [
      ...messages,
      {
        role: 'assistant',
        content: null,
        tool_calls: [{ id: 'c1', type: 'function', function: { name: 'weather', arguments: '{ "city":"Lyon" }' } }],
      },
      { role: 'tool', tool_call_id: 'c1', content: 'rain in Lyon' },
    ],
  });
  await second.end(answer([{ content: 'Yes.' }, null], [{}, 'stop']));
  expect((await events).map(({ type }) => type)).toContain('tool-result');
  expect((await events).at(-1)).toMatchObject({ type: 'finish', reason: 'stop' });
});
