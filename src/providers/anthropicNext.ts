import type { ToolResult } from '../protocol/call.js';
import type { AnthropicRequest } from './anthropicRequest.js';
import type { AnthropicBlock, AnthropicTurn } from './anthropicTurn.js';

/** The request for the next turn: the conversation, the assistant's turn, and the results of its calls in their order. */
export function anthropicNext(
  request: AnthropicRequest,
  turn: AnthropicTurn,
  results: readonly ToolResult[],
): AnthropicRequest {
  const { container, content } = turn;
  const isPaused = results.length === 0;
  const said = isPaused ? withoutEnd(content) : content;
  const calls = content.filter(({ type }) => type === 'tool_use');
  const place = ({ id }: ToolResult): number => {
    const at = calls.findIndex((call) => call['id'] === id);
    return at === -1 ? calls.length : at;
  };
  const told = [...results].sort((one, other) => place(one) - place(other));
  const next = {
    ...request,
    messages: [
      ...request.messages,
      ...(said.length === 0 ? [] : [{ role: 'assistant', content: said }]), // an empty turn is refused
      ...(isPaused ? [] : [{ role: 'user', content: told.map((result) => blockOf(result, calls[place(result)])) }]),
    ],
  };
  if (container === undefined) return next;
  // An object holds skills besides; the id goes into it.
  const asked = request.container;
  const isObject = typeof asked === 'object' && asked !== null;
  return { ...next, container: isObject ? { ...asked, id: container } : container };
}

function blockOf({ id, text, isError }: ToolResult, call: AnthropicBlock | undefined): AnthropicBlock {
  const toolset = call?.['toolset_name'];
  return {
    type: 'tool_result',
    tool_use_id: id,
    // The API refuses an error without content, and an empty text.
    ...(text === '' ? (isError === true ? { content: 'failed' } : undefined) : { content: text }),
    ...(isError === true ? { is_error: true } : undefined),
    ...(typeof toolset === 'string' ? { toolset_name: toolset } : undefined),
  };
}

/** The API refuses white space at the end of the last turn, where it is the assistant's. */
function withoutEnd(content: readonly AnthropicBlock[]): readonly AnthropicBlock[] {
  const last = content.at(-1);
  if (last?.type !== 'text' || typeof last['text'] !== 'string') return content;
  const text = last['text'].trimEnd();
  const rest = content.slice(0, -1);
  return text === '' ? withoutEnd(rest) : [...rest, { ...last, text }];
}
