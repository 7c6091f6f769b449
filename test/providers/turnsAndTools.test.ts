import { lastValueFrom, of, toArray } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Call, ToolPlan } from '../../src/protocol/call.js';
import type { Dialect } from '../../src/protocol/dialect.js';
import { accumulate } from '../../src/operators/accumulate.js';
import { gateway } from '../../src/providers/gateway.js';
import { inferencesh } from '../../src/providers/inferencesh.js';
import { infernet } from '../../src/providers/infernet.js';
import { infron } from '../../src/providers/infron.js';
import { polargrid } from '../../src/providers/polargrid.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { runTools } from '../../src/sources/runTools.js';
import { startProviderServer, startServer } from '../../src/testing/index.js';
import type { StreamEvent } from '../../src/types.js';

const apiKey = 'k';
const messages = [{ role: 'user', content: 'What is at the weir?' }];
const toolCall = { id: 'c1', type: 'function', function: { name: 'look', arguments: '{"q":"x"}' } };
const turn = { role: 'assistant', content: null, tool_calls: [toolCall] };
const results = [{ id: 'c1', name: 'look', text: 'a hat' }];

type Asking = Extract<ToolPlan, { by: 'ask' }>;

function askPlan({ tools }: Call): Asking {
  if (tools?.by !== 'ask') throw new Error('the call does not ask again');
  return tools;
}

function body(call: Call): { readonly messages: readonly unknown[] } & Record<string, unknown> {
  return JSON.parse(call.stream('').body ?? '') as ReturnType<typeof body>;
}

describe.each([
  ['infron', infron({ apiKey }).chat({ model: 'm', messages, seed: 7 })],
  ['polargrid', polargrid({ apiKey }).chat({ model: 'm', messages, seed: 7, maxTokens: 9 })],
  ['infernet.openai', infernet({ apiKey }).openai({ model: 'm', messages, seed: 7 })],
])('%s', (_, call) => {
  it('gives results back with the same request, round after round', () => {
    const second = askPlan(call).next(turn, results);
    const result = { role: 'tool', tool_call_id: 'c1', content: 'a hat' };
    expect(body(second)).toStrictEqual({ ...body(call), messages: [...messages, turn, result] });
    expect(second.stream('').url).toBe(call.stream('').url);
    const third = askPlan(second).next(turn, results);
    expect(body(third).messages).toStrictEqual([...messages, turn, result, turn, result]);
    expect(third.dialect).toBe(call.dialect);
  });

  it('gives the answer back as a message', () => {
    const said: StreamEvent[] = [
      { type: 'thinking', text: 'Hm', index: 0, name: 'thinking' },
      { type: 'text', text: 'A ', index: 0, name: 'output' },
      { type: 'text', text: 'hat', index: 0, name: 'output' },
    ];
    expect(call.dialect.turn?.build(said)).toMatchObject({ role: 'assistant', content: 'A hat' });
  });
});

it('takes from infernet.openai no message without a text, but the assistant’s', () => {
  const { openai } = infernet({ apiKey });
  for (const wrong of [{ role: 'user' }, { role: 'user', content: null }, { role: 'assistant', content: [] }]) {
    expect(() => openai({ model: 'm', messages: [wrong] })).toThrow(/messages\.0\.content/);
  }
  expect(() => openai({ model: 'm', messages: [...messages, turn] })).not.toThrow();
});

describe('the turn of infernet', () => {
  it.each([
    ['jobs', 'infernet', (base: string) => infernet({ apiKey, baseURL: base }).chat({ model: 'm', messages })],
    ['the native chat', 'infernetOrigin', (base: string) => infernet({ originURL: base }).native({ messages })],
  ] as const)('is its text, on %s', async (_, base, ask) => {
    const server = await startProviderServer();
    onTestFinished(() => server.close());
    server.next({ pieces: ['North', ' and ', 'south'] });
    const message = await lastValueFrom(fromCall(ask(server.baseURLs[base])).pipe(accumulate()));
    expect(message.toRequest()).toStrictEqual({ role: 'assistant', content: 'North and south' });
  });

  it('is that of the answer which a restart left', async () => {
    const { dialect } = infernet({ apiKey }).chat;
    const events: StreamEvent[] = [
      { type: 'text', text: 'wrong', index: 0, name: 'output' },
      { type: 'restart', attempt: 1, because: 'another text', discard: { chars: 5 } },
      { type: 'text', text: 'right', index: 0, name: 'output' },
    ];
    const message = await lastValueFrom(of(...events).pipe(accumulate({ dialect })));
    const { role, content }: { role: string; content: string } = message.toRequest();
    expect([role, content]).toStrictEqual(['assistant', 'right']);
  });
});

it('knows no turn where there is no conversation, or its form is not documented', () => {
  const gated = gateway({ apiKey });
  const sh = inferencesh({ apiKey });
  const without: readonly { readonly dialect: Dialect }[] = [
    ...[gated.chat, gated.generate, sh.run, sh.attach, sh.agent, sh.attachChat],
    ...[polargrid({ apiKey }).completion, polargrid({ apiKey }).completion({ model: 'm', prompt: 'Once', n: 2 })],
  ];
  for (const { dialect } of without) expect(dialect.turn, dialect.name).toBeUndefined();
});

it('takes no results where tools are not told', () => {
  const net = infernet({ apiKey });
  const sh = inferencesh({ apiKey });
  for (const call of [
    ...[net.chat({ model: 'm', messages }), net.direct({ model: 'm', messages }), net.attach('j')],
    ...[net.native({ messages }), net.attachNative('j'), sh.run({ app: 'a/b', input: {} }), sh.attach('t')],
    polargrid({ apiKey }).completion({ model: 'm', prompt: 'Once' }),
  ]) {
    expect(call.tools).toBeUndefined();
  }
});

describe('an agent of inference.sh', () => {
  const api = inferencesh({ apiKey });
  const agents = [api.agent({ agent: 'a/b', input: 'Hi' }), api.attachChat('ch1')];

  it('is told results as submitToolResult tells them, and failures as the API’s own client does', () => {
    for (const { tools } of agents) {
      if (tools?.by !== 'post') throw new Error('results are not posted');
      expect(tools.post({ id: 'ti/1', name: 'look', text: 'a hat' })).toStrictEqual(
        api.submitToolResult('ti/1', 'a hat').request,
      );
      expect(tools.post({ id: 'ti1', name: 'look', text: 'no "light"', isError: true }).body).toBe(
        JSON.stringify({ result: JSON.stringify({ error: 'no "light"' }) }),
      );
    }
  });

  it.each(['ndjson', 'sse'] as const)(
    'has its client tools run while its stream goes on, once each (%s)',
    async (framing) => {
      const server = await startServer();
      onTestFinished(() => server.close());
      const mine = inferencesh({ apiKey, baseURL: server.url });
      const args: unknown[] = [];
      const run = (given: unknown): string => {
        args.push(given);
        return 'a hat';
      };
      const ended = lastValueFrom(runTools(mine.attachChat('ch1'), { look: { run } }).pipe(toArray()));
      const stream = await server.accept();
      expect(stream.request.path).toBe('/chats/ch1/stream');
      const type = framing === 'ndjson' ? 'application/x-ndjson' : 'text/event-stream';
      stream.respond({ status: 200, headers: { 'content-type': type } });
      const say = (event: string, data: object): void => {
        void stream.write(
          framing === 'ndjson'
            ? `${JSON.stringify({ event, data })}\n`
            : `event: ${event}\ndata: ${JSON.stringify({ data })}\n\n`,
        );
      };
      const message = (status: string, tool: string, text: string): void => {
        const of = (id: string, type: string): object => ({
          id,
          type,
          status: tool,
          function: { name: 'look', arguments: { q: id } },
        });
        say('chat_messages', {
          id: 'm2',
          order: 2,
          role: 'assistant',
          status,
          content: text === '' ? [] : [{ type: 'text', text }],
          tool_invocations: [of('ti1', 'client'), of('ti2', 'app')],
        });
      };
      say('chats', { id: 'ch1', status: 'busy', active_run: { id: 'r1', state: 'working' } });
      message('pending', 'in_progress', '');
      message('pending', 'awaiting_input', '');
      const result = await server.accept();
      expect(result.request).toMatchObject({
        method: 'POST',
        path: '/tools/ti1',
        text: JSON.stringify({ result: 'a hat' }),
      });
      expect(result.request.headers).toMatchObject({ authorization: 'Bearer k', 'content-type': 'application/json' });
      result.respond({ status: 200, headers: { 'content-type': 'application/json' } });
      await result.end('{"data":{"id":"ti1","status":"completed"},"messages":[]}');
      message('ready', 'completed', 'A hat.');
      say('agent_runs', { id: 'r1', state: 'completed' });
      const events = await ended;
      expect(args).toStrictEqual([{ q: 'ti1' }]);
      expect(
        events.filter(({ type: each }) => ['tool-call', 'tool-result', 'text', 'finish'].includes(each)),
      ).toMatchObject([
        { type: 'tool-call', id: 'ti1' },
        { type: 'tool-result', id: 'ti1', result: 'a hat' },
        { type: 'text', text: 'A hat.' },
        { type: 'finish', reason: 'stop' },
      ]);
    },
  );
});

describe('a key that is wrong', () => {
  it('is refused when the provider is made; one that is missing when a call is', () => {
    for (const make of [infernet, infron, gateway, polargrid]) {
      expect(() => make({ apiKey: 'two words' })).toThrow(TypeError);
      expect(() => make()).not.toThrow();
    }
  });
});
