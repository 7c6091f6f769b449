import type { Call, ToolPlan, ToolResult } from '../protocol/call.js';
import type { ChatMessage } from './chatRequest.js';
import { LEGACY_CALL_ID } from './chatToolCalls.js';

/**
 * How results of tools are given back in the chat family: the conversation so far, the assistant's turn as the dialect built
 * it, and a message for each result. The rest of the request is sent again as it is, `tool_choice` too: one that forces a call
 * forces one in every round.
 *
 * @param ask - makes the call of the next request: the function that made this one's
 * @param request - the request whose answer holds the tool calls
 */
export function chatToolPlan<Request extends { readonly messages: readonly ChatMessage[] }>(
  ask: (request: Request) => Call,
  request: Request,
): ToolPlan {
  return {
    by: 'ask',
    next: (turn, results) => {
      const said = turn as ChatMessage; // built by the chat dialect, whose turns are messages
      return ask({ ...request, messages: [...request.messages, said, ...results.map(resultMessage)] });
    },
  };
}

/** A failed tool says so in its text: the format has no sign for it. */
function resultMessage({ id, name, text }: ToolResult): ChatMessage {
  // The deprecated form has no ids: results go by the function's name.
  if (id === LEGACY_CALL_ID) return { role: 'function', name, content: text };
  return { role: 'tool', tool_call_id: id, content: text };
}
