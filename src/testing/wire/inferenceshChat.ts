import { inferenceshFraming, type InferenceshFramingName, inferenceshHeartbeat } from './inferenceshFraming.js';
import type { WireAnswer, WireError, WireStream } from './wireAnswer.js';

/** The ids of one turn of a chat. */
export interface ChatTurn {
  readonly chatId: string;
  readonly runId: string;
  readonly messageId: string;
  readonly toolId: string;
}

/** The frames of a turn. */
export interface ChatTurnStream extends WireStream {
  /** How many frames go out before the result of the client's tool is awaited; absent where no tool is called. */
  readonly untilTool?: number;
  /** The index of the first increment. */
  readonly firstDelta: number;
}

/**
 * One turn of an agent: increments and whole messages, a tool for the client where the answer calls one, then idle.
 * @param said - increments that an earlier connection has seen: they are in the message that this one begins with
 */
export function inferenceshChatStream(
  answer: WireAnswer,
  turn: ChatTurn,
  framing: InferenceshFramingName,
  said = 0,
): ChatTurnStream {
  const { chats, run, message, delta } = chatWriters(turn, framing);
  const increments = [
    ...answer.thinking.map((text) => ({ type: 'reasoning', text })),
    ...answer.pieces.map((text) => ({ type: 'text', text })),
  ];
  const deltas = increments.map(({ type, text }, index) =>
    delta(type === 'text' ? { response: text } : { response: '', reasoning: text }, index + 1),
  );
  const contentAfter = (count: number): readonly object[] =>
    ['reasoning', 'text'].flatMap((type) => {
      const text = increments.slice(0, count).flatMap((increment) => (increment.type === type ? increment.text : []));
      return text.length === 0 ? [] : [{ type, text: text.join('') }];
    });

  const { toolCall } = answer;
  const tool = toolCall && {
    id: turn.toolId,
    type: 'client',
    function: { name: toolCall.name, arguments: JSON.parse(toolCall.argumentPieces.join('') || '{}') as unknown },
  };
  const opening = [
    chats('busy', { id: turn.runId, state: 'submitted' }),
    inferenceshHeartbeat[framing],
    run('working'),
    message('pending', contentAfter(said), said > 0 && tool !== undefined ? [{ ...tool, status: 'completed' }] : []),
    ...(tool === undefined || said > 0
      ? []
      : [
          message('pending', [], [{ ...tool, status: 'awaiting_input' }]),
          run('input_required'),
          chats('awaiting_input', { id: turn.runId, state: 'input_required' }),
        ]),
  ];
  if (tool !== undefined && said === 0)
    opening.push(run('working'), message('pending', [], [{ ...tool, status: 'completed' }]));
  const frames = [
    ...opening,
    ...deltas.slice(said),
    message('ready', contentAfter(Infinity), tool === undefined ? [] : [{ ...tool, status: 'completed' }]),
    run('completed'),
    chats('idle', null),
  ];
  return {
    frames,
    provenFrame: frames.length - 2,
    firstDelta: opening.length,
    ...(tool !== undefined && said === 0 && { untilTool: opening.length - 2 }),
  };
}

/** What a chat shows to a client that connects between turns. */
export function inferenceshChatIdle(turn: ChatTurn, framing: InferenceshFramingName): string {
  return chatWriters(turn, framing).chats('idle', null);
}

/** The end of a turn that failed. */
export function inferenceshChatError(
  { message: error }: WireError,
  turn: ChatTurn,
  framing: InferenceshFramingName,
): readonly string[] {
  const { chats, run, message } = chatWriters(turn, framing);
  return [message('failed', [], []), run('failed', { error }), chats('idle', null)];
}

/** The end of a turn that was stopped on request. */
export function inferenceshChatStopped(turn: ChatTurn, framing: InferenceshFramingName): readonly string[] {
  const { chats, run, message } = chatWriters(turn, framing);
  return [message('cancelled', [], []), run('canceled'), chats('idle', null)];
}

/** The two messages with which a turn begins. */
export function inferenceshTurnAccepted(turn: ChatTurn, input: unknown): object {
  const message = { chat_id: turn.chatId, tool_invocations: [] };
  const said = [{ type: 'text', text: textField(input) }];
  return {
    user_message: { ...message, id: `${turn.messageId}_user`, order: 1, role: 'user', status: 'ready', content: said },
    assistant_message: { ...message, id: turn.messageId, order: 2, role: 'assistant', status: 'pending', content: [] },
  };
}

function textField(input: unknown): string {
  return typeof input === 'object' && input !== null && 'text' in input ? String(input.text) : '';
}

function chatWriters({ chatId, runId, messageId }: ChatTurn, framing: InferenceshFramingName) {
  const write = inferenceshFraming[framing];
  return {
    chats: (status: string, active_run: object | null): string =>
      write({ name: 'chats', data: { data: { id: chatId, status, active_run }, fields: ['status', 'active_run'] } }),
    run: (state: string, more: object = {}): string =>
      write({
        name: 'agent_runs',
        data: { data: { id: runId, chat_id: chatId, state, ...more }, fields: ['state', ...Object.keys(more)] },
      }),
    message: (status: string, content: readonly object[], tool_invocations: readonly object[]): string => {
      const data = { id: messageId, chat_id: chatId, order: 2, role: 'assistant', status, content, tool_invocations };
      return write({ name: 'chat_messages', data: { data, fields: ['status', 'content', 'tool_invocations'] } });
    },
    delta: (delta: object, seq: number): string =>
      write({ name: 'delta', data: { data: { delta, seq, resource_id: messageId } } }),
  };
}
