import { expect, it } from 'vitest';
import { gatewayStream } from '../../../src/testing/wire/gateway.js';
import { inferenceshChatStream } from '../../../src/testing/wire/inferenceshChat.js';
import { inferenceshTaskStream, newTask, taskSteps } from '../../../src/testing/wire/inferenceshTask.js';
import { infernetJobError, infernetJobStream } from '../../../src/testing/wire/infernetJobs.js';
import { infernetNativeStream } from '../../../src/testing/wire/infernetNative.js';
import { infernetShimError, infernetShimStream } from '../../../src/testing/wire/infernetShim.js';
import { infronStream } from '../../../src/testing/wire/infron.js';
import { polargridChatStream, polargridTextStream } from '../../../src/testing/wire/polargrid.js';
import { SAMPLE_TEXTS } from '../../../src/testing/wire/sampleAnswers.js';
import { splitIntoPieces } from '../../../src/testing/wire/splitIntoPieces.js';
import type { WireAnswer } from '../../../src/testing/wire/wireAnswer.js';

const answer: WireAnswer = {
  id: 'a1',
  model: 'm',
  createdAt: Date.UTC(2026, 10, 21, 9),
  thinking: [],
  pieces: ['Ly', 'on.'],
  finish: 'stop',
  usage: { inputTokens: 9, outputTokens: 2, reasoningTokens: 0 },
  logs: [],
};
const CREATED = 1795251600;
const turn = { chatId: 'ch1', runId: 'r1', messageId: 'msg_2', toolId: 'ti1' };
const toolCall = { id: 'call_1', name: 'look', argumentPieces: ['{"q":', '"x"}'] };

it('cuts a text into pieces that join to it, however it is written', () => {
  for (const text of [...Object.values(SAMPLE_TEXTS), '  ', 'a👩‍👩‍👧b', ' \n\n— é ', '谢谢你们大家都来了']) {
    const pieces = splitIntoPieces(text);
    expect(pieces.join('')).toBe(text);
    expect(pieces.every((piece) => !/\p{Surrogate}/u.test(piece))).toBe(true);
  }
  expect(splitIntoPieces('')).toStrictEqual([]);
  expect(splitIntoPieces('The miller, quietly.')).toStrictEqual(['The', ' miller', ',', ' quietl', 'y', '.']);
});

it('frames Infernet jobs', () => {
  expect(infernetJobStream(answer)).toStrictEqual({
    frames: ['data: {"text":"Ly"}\n\n', 'data: {"text":"on."}\n\n', 'data: [DONE]\n\n'],
    provenFrame: 2,
  });
  expect(infernetJobError({ code: 'node_disconnected', message: 'gone' })).toStrictEqual([
    'data: {"error":"node_disconnected","message":"gone"}\n\n',
  ]);
});

it('frames the native stream of Infernet, whose end says everything again', () => {
  const { frames, provenFrame } = infernetNativeStream(answer);
  expect(frames).toStrictEqual([
    'event: job\ndata: {"id":"a1","type":"chat","status":"assigned","model_name":"m","input_spec":{}}\n\n',
    'id: 901\nevent: meta\ndata: {"provider_node_id":"n1","provider_name":"Rig","model":"m","started_at":"2026-11-21T09:00:00.000Z","engine":"ollama"}\n\n',
    'id: 902\nevent: token\ndata: {"text":"Ly"}\n\n',
    'id: 903\nevent: token\ndata: {"text":"on."}\n\n',
    'id: 904\nevent: done\ndata: {"text":"Lyon.","reason":"stop","finished_at":"2026-11-21T09:00:00.000Z"}\n\n',
  ]);
  expect(provenFrame).toBe(4);
});

it('frames the chat endpoint of Infernet, which ends with [DONE] after errors too', () => {
  const { frames, provenFrame } = infernetShimStream({ ...answer, thinking: ['hm'], toolCall });
  const head = `{"id":"a1","object":"chat.completion.chunk","created":${String(CREATED)},"model":"m","choices":[{"index":0,"delta":`;
  const chunk = (delta: string, finish = 'null'): string => `data: ${head}${delta},"finish_reason":${finish}}]}\n\n`;
  expect(frames).toStrictEqual([
    chunk('{"role":"assistant","content":""}'),
    ...['<thi', 'nk>', 'hm', '</th', 'ink>', 'Ly', 'on.'].map((text) => chunk(JSON.stringify({ content: text }))),
    chunk('{}', '"stop"'),
    'data: [DONE]\n\n',
  ]);
  expect(provenFrame).toBe(8);
  expect(infernetShimError({ code: 1, message: 'no' }, 'a1').join('')).toBe(
    'data: {"id":"a1","object":"chat.completion.chunk","error":{"message":"no"}}\n\ndata: [DONE]\n\n',
  );
});

it('frames Infron, with comments before and the cost beside the usage', () => {
  const { frames, provenFrame } = infronStream({ ...answer, thinking: ['hm'], toolCall, finish: 'tool_calls' });
  const head = `{"id":"a1","object":"chat.completion.chunk","created":${String(CREATED)},"model":"m","choices":`;
  const chunk = (delta: string, finish = 'null'): string =>
    `data: ${head}[{"index":0,"delta":${delta},"finish_reason":${finish}}]}\n\n`;
  expect(frames).toStrictEqual([
    ': Infron AI PROCESSING\n\n',
    ': Infron AI PROCESSING\n\n',
    chunk('{"role":"assistant","content":""}'),
    chunk('{"reasoning":"hm"}'),
    chunk('{"content":"Ly"}'),
    chunk('{"content":"on."}'),
    chunk('{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"look","arguments":""}}]}'),
    chunk('{"tool_calls":[{"index":0,"function":{"arguments":"{\\"q\\":"}}]}'),
    chunk('{"tool_calls":[{"index":0,"function":{"arguments":"\\"x\\"}"}}]}'),
    chunk('{}', '"tool_calls"'),
    `data: ${head}[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}},"cost":0.000001275,"cost_details":{"prompt_cost":6.75e-7,"completion_cost":6e-7,"discount_rate":1}}\n\n`,
    'data: [DONE]\n\n',
  ]);
  expect(provenFrame).toBe(9);
});

it('frames PolarGrid as sparsely as it writes', () => {
  const chunk = (choice: string): string =>
    `data: {"id":"a1","object":"chat.completion.chunk","choices":[${choice}]}\n\n`;
  expect(polargridChatStream(answer)).toStrictEqual({
    frames: [
      chunk('{"delta":{"role":"assistant"}}'),
      chunk('{"delta":{"content":"Ly"}}'),
      chunk('{"delta":{"content":"on."}}'),
      chunk('{"delta":{},"finish_reason":"stop"}'),
      'data: {"id":"a1","object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}\n\n',
      'data: {"pg_metadata":{"latency_ms":412}}\n\n',
      'data: [DONE]\n\n',
    ],
    provenFrame: 3,
  });
  const text = (piece: string, finish: string): string =>
    `data: {"id":"a1","object":"text_completion","created":${String(CREATED)},"model":"m","choices":[{"index":0,"text":"${piece}","finish_reason":${finish}}]}\n\n`;
  expect(polargridTextStream({ ...answer, finish: 'length' })).toStrictEqual({
    frames: [text('Ly', 'null'), text('on.', 'null'), text('', '"length"'), 'data: [DONE]\n\n'],
    provenFrame: 2,
  });
});

it('frames the gateway, whose end is an object', () => {
  const { frames, provenFrame } = gatewayStream({ ...answer, thinking: ['hm'] });
  const item = (name: string, content: string, done: boolean, index: number): string =>
    `data: {"type":"text","name":"${name}","content":"${content}","done":${String(done)},"index":${String(index)},"is_final":false}\n\n`;
  expect(frames).toStrictEqual([
    item('thinking', 'hm', false, 0),
    item('thinking', '', true, 0),
    item('output', 'Ly', false, 1),
    item('output', 'on.', false, 1),
    item('output', '', true, 1),
    'data: {"type":"metadata","name":"metadata","content":{"model_name":"m","finish_reason":"stop"},"done":true,"index":2,"is_final":false}\n\n',
    'data: {"final":true,"usage":{"input_tokens":9,"output_tokens":2,"total_tokens":11},"cost":{"input":6.75e-7,"output":6e-7,"total":0.000001275},"warnings":[]}\n\n',
  ]);
  expect(provenFrame).toBe(6);
});

it('frames a task as lines: its state, its steps, its end', () => {
  const said: WireAnswer = { ...answer, thinking: ['hm'], logs: ['one', 'two'], usage: undefined };
  const { frames, provenFrame } = inferenceshTaskStream(newTask(said, 'app', { a: 1 }), taskSteps(said), 'ndjson');
  const log = '{"id":"log_1","task_id":"a1","log_type":3,"content":"one"}';
  const status = (number: number): string => `{"data":{"status":${String(number)}},"fields":["status"]}`;
  expect(frames.join('').split('\n')).toStrictEqual([
    '{"id":"a1","short_id":"a1","status":1,"status_text":"received","app_id":"app","input":{"a":1},"output":null,"logs":[],"events":[],"created_at":"2026-11-21T09:00:00.000Z","updated_at":"2026-11-21T09:00:00.000Z"}',
    status(2),
    '{"type":"heartbeat"}',
    ...[3, 4, 6, 5, 7].map(status),
    `{"data":{"logs":[${log}]},"fields":["logs"]}`,
    `{"data":{"logs":[${log},{"id":"log_2","task_id":"a1","log_type":4,"content":"two"}]},"fields":["logs"]}`,
    '{"event":"delta","data":{"delta":{"response":"","reasoning":"hm"},"seq":1}}',
    '{"event":"delta","data":{"delta":{"response":"Ly"},"seq":2}}',
    '{"data":{"progress":{"current":1,"total":2}},"fields":["progress"]}',
    '{"event":"delta","data":{"delta":{"response":"on."},"seq":3}}',
    '{"data":{"progress":{"current":2,"total":2}},"fields":["progress"]}',
    status(9),
    '{"data":{"status":10,"output":{"response":"Lyon.","reasoning":"hm"}},"fields":["status","output"]}',
    '',
  ]);
  expect(provenFrame).toBe(frames.length - 1);
});

it('frames a task as server-sent events, with an event of its own for the end', () => {
  const said: WireAnswer = { ...answer, pieces: ['x'], usage: undefined };
  const { frames, provenFrame } = inferenceshTaskStream(newTask(said, 'app', {}), taskSteps(said), 'sse');
  expect(frames.slice(2, 3)).toStrictEqual([': heartbeat\n\n']);
  expect(frames.slice(-5)).toStrictEqual([
    'event: delta\ndata: {"delta":{"response":"x"},"seq":1}\n\n',
    'event: update\ndata: {"data":{"progress":{"current":1,"total":1}},"fields":["progress"]}\n\n',
    'event: update\ndata: {"data":{"status":9},"fields":["status"]}\n\n',
    'event: update\ndata: {"data":{"status":10,"output":{"response":"x"}},"fields":["status","output"]}\n\n',
    'event: done\ndata: {}\n\n',
  ]);
  expect(provenFrame).toBe(frames.length - 2);
});

it('goes on with a task from any step: nothing is said twice', () => {
  const steps = taskSteps(answer);
  const task = newTask(answer, 'app', {});
  const whole = inferenceshTaskStream(task, steps, 'ndjson').frames;
  for (let done = 0; done < steps.length; done += 1) {
    const { frames } = inferenceshTaskStream(task, steps, 'ndjson', done);
    expect(frames.slice(1)).toStrictEqual(whole.slice(done + 1));
    const state = JSON.parse(frames[0] ?? '') as { output: { response: string } | null };
    const rest = frames.flatMap((frame) => /"delta":\{"response":"([^"]*)"/.exec(frame)?.[1] ?? []);
    expect((state.output?.response ?? '') + rest.join('')).toBe('Lyon.');
  }
});

it('frames a turn of an agent, first busy and then idle', () => {
  const { frames, provenFrame } = inferenceshChatStream(answer, turn, 'ndjson');
  const message = (status: string, content: string): string =>
    `{"event":"chat_messages","data":{"id":"msg_2","chat_id":"ch1","order":2,"role":"assistant","status":"${status}","content":${content},"tool_invocations":[]},"fields":["status","content","tool_invocations"]}\n`;
  const run = (state: string): string =>
    `{"event":"agent_runs","data":{"id":"r1","chat_id":"ch1","state":"${state}"},"fields":["state"]}\n`;
  expect(frames).toStrictEqual([
    '{"event":"chats","data":{"id":"ch1","status":"busy","active_run":{"id":"r1","state":"submitted"}},"fields":["status","active_run"]}\n',
    '{"type":"heartbeat"}\n',
    run('working'),
    message('pending', '[]'),
    '{"event":"delta","data":{"delta":{"response":"Ly"},"seq":1,"resource_id":"msg_2"}}\n',
    '{"event":"delta","data":{"delta":{"response":"on."},"seq":2,"resource_id":"msg_2"}}\n',
    message('ready', '[{"type":"text","text":"Lyon."}]'),
    run('completed'),
    '{"event":"chats","data":{"id":"ch1","status":"idle","active_run":null},"fields":["status","active_run"]}\n',
  ]);
  expect(provenFrame).toBe(7);
});

it('asks the client for its tool before it speaks', () => {
  const { frames, untilTool = 0 } = inferenceshChatStream({ ...answer, toolCall }, turn, 'ndjson');
  expect(frames.slice(untilTool - 3, untilTool + 1)).toStrictEqual([
    expect.stringContaining(
      '"tool_invocations":[{"id":"ti1","type":"client","function":{"name":"look","arguments":{"q":"x"}},"status":"awaiting_input"}]',
    ),
    expect.stringContaining('"state":"input_required"'),
    expect.stringContaining('"status":"awaiting_input"'),
    expect.stringContaining('"state":"working"'),
  ]);
});

it('says in one message what an earlier connection has seen of a turn', () => {
  const { frames, firstDelta } = inferenceshChatStream(answer, turn, 'ndjson', 1);
  expect(frames[firstDelta - 1]).toContain('"status":"pending","content":[{"type":"text","text":"Ly"}]');
  expect(frames[firstDelta]).toContain('{"delta":{"response":"on."},"seq":2');
});
