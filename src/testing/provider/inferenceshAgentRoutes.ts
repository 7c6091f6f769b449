import {
  inferenceshChatError,
  inferenceshChatIdle,
  inferenceshChatStopped,
  inferenceshChatStream,
  inferenceshTurnAccepted,
} from '../wire/inferenceshChat.js';
import type { InferenceshFramingName } from '../wire/inferenceshFraming.js';
import { textOf } from '../wire/wireAnswer.js';
import type { Chat, Turn } from './desk.js';
import { API, FORMATS, framingOf, newWork, OUT_OF_MEMORY, replyData } from './inferenceshReply.js';
import { aborted, replyError, replyStream, type Route, type Visit } from './visit.js';
import type { WorkState } from './work.js';

/** inference.sh: agents, whose turns are streamed by their chat. */
export const inferenceshAgentRoutes: readonly Route[] = [
  {
    ...API,
    method: 'POST',
    path: '/inferencesh/agents/run',
    begins: true,
    requires: ['input'],
    serve: async (visit) => {
      const { desk, body } = visit;
      const named = body['chat_id'];
      const chatId = typeof named === 'string' && named !== '' ? named : desk.id('chat_');
      const ids = { chatId, runId: desk.id('run_'), messageId: desk.id('msg_'), toolId: desk.id('tool_') };
      const turn: Turn = { work: newWork(visit, ids.messageId), ids, toolDone: new AbortController() };
      desk.turnsByTool.set(ids.toolId, turn);
      const chat = desk.chat(chatId);
      chat.turn = turn;
      await replyData(visit, inferenceshTurnAccepted(ids, body['input']));
      chat.begun.dispatchEvent(new Event('turn'));
    },
  },
  { ...API, method: 'GET', path: '/inferencesh/chats/{id}/stream', serve: streamChat },
  {
    ...API,
    method: 'GET',
    path: '/inferencesh/chats/{id}/status',
    serve: (visit) => replyData(visit, { status: chatStatus(chatOf(visit)) }),
  },
  {
    ...API,
    method: 'GET',
    path: '/inferencesh/chats/{id}',
    serve: async (visit) => {
      const chat = chatOf(visit);
      chat.turn?.work.poll();
      await replyData(visit, { id: visit.params['id'], status: chatStatus(chat), chat_messages: storedMessages(chat) });
    },
  },
  {
    ...API,
    method: 'POST',
    path: '/inferencesh/chats/{id}/stop',
    serve: async (visit) => {
      chatOf(visit).turn?.work.finish('cancelled');
      await replyData(visit, { id: visit.params['id'], status: 'idle' });
    },
  },
  {
    ...API,
    method: 'POST',
    path: '/inferencesh/tools/{id}',
    requires: ['result'],
    serve: async (visit) => {
      const turn = visit.desk.turnsByTool.get(visit.params['id'] ?? '');
      if (turn === undefined) {
        await replyError(visit, 404, { message: 'tool invocation not found' });
        return;
      }
      await replyData(visit, { id: turn.ids.toolId, status: 'completed' });
      turn.toolDone.abort();
    },
  },
];

/** A message's state, as polling finds it. */
const MESSAGE_STATUS: Readonly<Record<WorkState, string>> = {
  open: 'pending',
  completed: 'ready',
  failed: 'failed',
  cancelled: 'cancelled',
};

function storedMessages({ turn }: Chat): readonly object[] {
  if (turn === undefined) return [];
  const { state, stored } = turn.work;
  const content = state === 'completed' ? [{ type: 'text', text: textOf(stored) }] : [];
  return [{ id: turn.ids.messageId, role: 'assistant', status: MESSAGE_STATUS[state], content }];
}

function chatOf({ desk, params }: Visit): Chat {
  return desk.chat(params['id'] ?? '');
}

function chatStatus({ turn }: Chat): string {
  return turn?.work.state === 'open' ? 'busy' : 'idle';
}

async function streamChat(visit: Visit): Promise<void> {
  const { exchange, params, headers } = visit;
  const framing = framingOf(visit);
  const chat = chatOf(visit);
  let isUnderWay = false;
  if (chat.turn?.work.state !== 'open') {
    // Between turns a chat shows its idle state and waits for somebody to speak.
    const ids = chat.turn?.ids ?? { chatId: params['id'] ?? '', runId: '', messageId: '', toolId: '' };
    const begun = new AbortController();
    chat.begun.addEventListener(
      'turn',
      () => {
        begun.abort();
      },
      { once: true },
    );
    exchange.respond({ headers: { ...headers, 'content-type': FORMATS[framing].contentType } });
    await exchange.write(inferenceshChatIdle(ids, framing));
    await aborted(AbortSignal.any([exchange.gone, begun.signal]));
    isUnderWay = true;
  }
  if (chat.turn !== undefined && !exchange.gone.aborted) await streamTurn(visit, chat.turn, framing, isUnderWay);
}

async function streamTurn(
  visit: Visit,
  turn: Turn,
  framing: InferenceshFramingName,
  isUnderWay: boolean,
): Promise<void> {
  const { work, ids, toolDone } = turn;
  const script = visit.taken?.script ?? work.takeScript();
  const said = work.position;
  const { frames, provenFrame, untilTool, firstDelta } = inferenceshChatStream(work.answer, ids, framing, said);
  await replyStream(visit, script, {
    ...FORMATS[framing],
    frames,
    isUnderWay,
    error: (words) => inferenceshChatError(words, ids, framing),
    usualError: OUT_OF_MEMORY,
    ...(untilTool !== undefined && { wait: { before: untilTool, until: toolDone.signal } }),
    interrupt: { signal: work.cancelled, frames: inferenceshChatStopped(ids, framing) },
    onSent: (count) => {
      if (script.frames !== undefined || script.recording !== undefined) return;
      if (count > provenFrame && script.fault?.kind !== 'in-band-error') work.finish('completed');
      work.position = Math.max(work.position, said + count - firstDelta);
    },
  });
  if (script.fault?.kind === 'in-band-error') work.finish('failed');
}
