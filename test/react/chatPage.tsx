import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { decode, fromHTTP, parseSSE, toTokens } from 'millrace';
import { anthropic, type AnthropicMessage, chatDialect, type ChatMessage, openai } from 'millrace/providers';
import { type ChatEntry, useChat } from 'millrace/react';

/** The page of `useChat`'s tests. */

declare global {
  interface Window {
    readonly chat: ChatHarness;
  }
}

/** What tests do with the page. */
interface ChatHarness {
  show(kind: Kind, props?: ChatProps): void;
  clear(): void;
  send(message: unknown, ...args: string[]): void;
  stop(): void;
  retry(): void;
  reset(): void;
  /** The conversation as it would be stored. */
  stored(): string;
  /** How often something was rendered. */
  readonly renders: number;
}

interface ChatProps {
  /** The API of a provider. */
  readonly baseURL?: string | undefined;
  /** A conversation as it was stored. */
  readonly stored?: string | undefined;
  readonly strict?: boolean | undefined;
}

type Kind = 'plain' | 'events' | 'anthropic' | 'responses';

/** Frees the turns of their types: each kind has its own. */
type Chat = Omit<ReturnType<typeof useChat<ChatMessage, [topic?: string]>>, 'send' | 'messages'> & {
  readonly send: (message: never, topic?: string) => void;
  readonly messages: readonly ChatEntry<unknown>[];
};

const key = { apiKey: 'any', dangerouslyAllowBrowser: true };

function post(messages: readonly unknown[], topic = 'none') {
  const body = JSON.stringify({ topic, messages });
  return fromHTTP(`${location.origin}/answer`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
  }).pipe(parseSSE(), decode(chatDialect()));
}

const CHATS: Readonly<Record<Kind, (props: ChatProps) => Chat>> = {
  // A server of one's own that sends text: nothing is known of its form.
  plain: ({ stored }) =>
    useChat((messages, topic?: string) => post(messages, topic).pipe(toTokens()), {
      initialMessages: stored === undefined ? [] : (JSON.parse(stored) as ChatEntry[]), // as this page has stored it
    }),
  events: () => useChat((messages, topic?: string) => post(messages, topic)),
  anthropic: ({ baseURL }) =>
    useChat((messages: AnthropicMessage[]) =>
      anthropic({ ...key, baseURL }).messages({ model: 'claude', max_tokens: 100, messages }),
    ),
  responses: ({ baseURL }) =>
    useChat((input: Record<string, unknown>[]) => openai({ ...key, baseURL }).responses({ model: 'gpt', input }), {
      userTurn: (text) => ({ type: 'message', role: 'user', content: text }),
    }),
};

let chat: Chat | undefined;
let renders = 0;

function Conversation({ kind, ...props }: ChatProps & { readonly kind: Kind }) {
  chat = CHATS[kind](props);
  renders += 1;
  return (
    <ol data-phase={chat.phase} data-error={chat.error instanceof Error ? chat.error.name : undefined}>
      {chat.messages.map((entry) => (
        <li
          key={entry.id}
          data-phase={entry.role === 'assistant' ? entry.answer.phase : undefined}
          data-calls={entry.role === 'assistant' ? entry.answer.toolCalls.length : undefined}
        >
          {`${entry.role}: ${entry.text}`}
        </li>
      ))}
    </ol>
  );
}

/** Runs the page. */
export function runChatPage(): void {
  const root = createRoot(document.getElementById('root')!);
  const harness: ChatHarness = {
    show: (kind, props = {}) => {
      const shown = <Conversation key={kind} kind={kind} {...props} />;
      root.render(props.strict === true ? <StrictMode>{shown}</StrictMode> : shown);
    },
    clear: () => {
      root.render(null);
    },
    send: (message, ...args) => chat?.send(message as never, ...(args as [string?])), // the tests know the kind
    stop: () => chat?.stop(),
    retry: () => chat?.retry(),
    reset: () => chat?.reset(),
    stored: () => JSON.stringify(chat?.messages),
    get renders() {
      return renders;
    },
  };
  Object.assign(window, { chat: harness });
}
