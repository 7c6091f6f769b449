/** A request that holds a conversation. */
interface Conversation {
  readonly messages: readonly { readonly role: string; readonly content?: unknown }[];
}

/**
 * The request for the rest of an answer: the text so far is sent back as the assistant's turn, which servers of the chat family go on
 * from. Undefined where several answers were asked for, since the text is that of one.
 */
export function continueChat<Request extends Conversation>(request: Request, text: string): Request | undefined {
  const { n } = request as { readonly n?: unknown };
  if (typeof n === 'number' && n > 1) return undefined;
  const { messages } = request;
  const last = messages.at(-1);
  // The caller began the assistant's turn already.
  const isBegun = last?.role === 'assistant' && typeof last.content === 'string';
  const turn = isBegun ? { ...last, content: String(last.content) + text } : { role: 'assistant', content: text };
  return { ...request, messages: [...(isBegun ? messages.slice(0, -1) : messages), turn] };
}
