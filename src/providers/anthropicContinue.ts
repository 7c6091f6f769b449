import { isRecord } from '../protocol/errorBody.js';
import type { AnthropicMessage, AnthropicRequest } from './anthropicRequest.js';
import type { AnthropicBlock } from './anthropicTurn.js';

/**
 * Claude up to 4.5, under the names of Anthropic, Vertex AI, Bedrock and routers. From 4.6 on the API answers a request that ends with the
 * assistant's turn with status 400 (migration guide, "prefill removal").
 */
const PREFILLED =
  /claude-(?:3(?!\d)|4(?:[.-][015])?-(?:opus|sonnet|haiku)|(?:opus|sonnet|haiku)-(?:3(?!\d)|4(?:[.-][015](?!\d)|[-@]\d{8}|$)))/;

/** Whether a model goes on from the assistant's turn, going by its name; one that is not known does not. */
export function takesPrefill(model: string): boolean {
  return PREFILLED.test(model.toLowerCase());
}

/**
 * The request for the rest of an answer: the text so far is sent back as the assistant's turn, which the model goes on from. Undefined where
 * the API refuses that (thinking, structured outputs, white space at the text's end, which cannot be cut off without
 * losing it) and where the text is not all that a reader may have (tools).
 */
export function anthropicContinue(request: AnthropicRequest, text: string): AnthropicRequest | undefined {
  const { messages, thinking, tools, output_config: output, output_format: format } = request;
  const isThinking = isRecord(thinking) && thinking['type'] !== 'disabled';
  const isStructured = (isRecord(output) && isRecord(output['format'])) || isRecord(format);
  const hasTools = (tools?.length ?? 0) > 0 || Array.isArray(request['mcp_servers']);
  if (isThinking || isStructured || hasTools || text !== text.trimEnd()) return undefined;
  const last = messages.at(-1);
  if (last?.role !== 'assistant') return { ...request, messages: [...messages, { role: 'assistant', content: text }] };
  // The caller began the assistant's turn already.
  return { ...request, messages: [...messages.slice(0, -1), longer(last, text)] };
}

function longer(message: AnthropicMessage, text: string): AnthropicMessage {
  const { content } = message;
  if (typeof content === 'string') return { ...message, content: content + text };
  const last = content.at(-1);
  const isOpen = last?.type === 'text' && typeof last['text'] === 'string';
  const block: AnthropicBlock = isOpen ? { ...last, text: `${String(last['text'])}${text}` } : { type: 'text', text };
  return { ...message, content: [...(isOpen ? content.slice(0, -1) : content), block] };
}
