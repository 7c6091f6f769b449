'use client';

import { useEffect, useMemo, useState, useSyncExternalStore } from 'react';
import { idleStreamState, type StreamPhase, type StreamState } from '../internal/streamRecord.js';
import type { StreamStateOptions } from '../operators/streamState.js';
import type { ChatMessage } from '../providers/chatRequest.js';
import { ExternalStore } from './externalStore.js';
import { StreamRunner, type StreamSource } from './streamRunner.js';

/** What was asked. @public */
export interface ChatQuestion<Turn = ChatMessage> {
  /** Tells the entries of one chat apart, and stays the same. */
  readonly id: number;
  readonly role: 'user';
  /** Empty where turns were sent in the provider's own form. */
  readonly text: string;
  /** What is sent of it. */
  readonly turns: readonly Turn[];
}

/** What was answered, or is being answered. @public */
export interface ChatAnswer {
  /** Tells the entries of one chat apart, and stays the same. */
  readonly id: number;
  readonly role: 'assistant';
  readonly text: string;
  /** All that is known of it: thinking, tool calls, usage, and in `phase`, `error` and `billing` how it ended. */
  readonly answer: StreamState;
}

/** One entry of a chat, as a page shows it. @public */
export type ChatEntry<Turn = ChatMessage> = ChatQuestion<Turn> | ChatAnswer;

/** How a chat begins, and how it is told to the provider. Read when the component is mounted. @public */
export interface UseChatOptions<Turn = ChatMessage> extends StreamStateOptions {
  /**
   * Entries to begin with, such as `messages` of an earlier visit, from JSON too. An answer that was on its way is `interrupted`.
   * @defaultValue none
   */
  readonly initialMessages?: readonly ChatEntry<Turn>[] | undefined;
  /** A text that is sent, in the provider's form. @defaultValue `{ role: 'user', content: text }` */
  readonly userTurn?: ((text: string) => Turn) | undefined;
}

/** A chat in a component. @public */
export interface UseChatResult<Turn = ChatMessage, Args extends readonly unknown[] = []> {
  /** The questions and answers in order; the last answer may be on its way. Shared from render to render where they did not change. */
  readonly messages: readonly ChatEntry<Turn>[];
  /** That of the last answer; `idle` before the first. */
  readonly phase: StreamPhase;
  /** Why the last answer `failed` or was `interrupted`. */
  readonly error?: unknown;
  /**
   * Sends a text, or turns in the provider's own form such as the results of tools, with the whole conversation before it. An answer that is on its way
   * is stopped first, and stays as it is. Always the same function.
   */
  readonly send: (message: string | Turn | readonly Turn[], ...args: Args) => void;
  /** Stops the answer that is on its way, and keeps what came of it. Always the same function. */
  readonly stop: () => void;
  /** Asks once more for the last answer, which is given up, with the arguments that it was asked with. Always the same function. */
  readonly retry: () => void;
  /** Stops the answer that is on its way, and empties the chat. Always the same function. */
  readonly reset: () => void;
}

/**
 * Keeps a conversation in a component: what was asked, the answers while they come and as they ended, and the whole of it for the next request.
 *
 * ```text
 * send('Hi')      factory([{ role: 'user', content: 'Hi' }])
 * messages        question, answer: streaming, complete
 * send('Go on')   factory([{ role: 'user', content: 'Hi' }, <the assistant's turn>, { role: 'user', content: 'Go on' }])
 * ```
 * An answer goes back in its provider's own form (`toRequest` of {@link StreamState}): signatures, reasoning details and tool calls are in it byte for
 * byte, also where it is several items. Where the form is not known, as with events of one's own server, it is `{ role: 'assistant', content: text }`.
 * Answers that failed, were cut or stopped stay in the list, marked by their `phase`; the model is shown their text alone, and of
 * those without text nothing. Of an answer in several turns (`runTools`) the last turn goes back.
 *
 * Asks when `send` or `retry` is called; starting, ending, batching and StrictMode are as with {@link useStream}. Holds the whole conversation.
 *
 * @example A conversation with Anthropic
 * ```ts
 * import { type AnthropicMessage } from 'millrace/providers';
 * import { useChat } from 'millrace/react';
 * const claude = anthropic({ apiKey, baseURL: 'https://chat.example/proxy' });
 * function useTalk() {
 *   return useChat((messages: AnthropicMessage[]) => claude.messages({ model, max_tokens: 1024, messages }));
 * }
 * ```
 * @param factory - makes the stream from the conversation so far, whose last turn is the one to be answered; it is a new list each time. Its
 *   parameter's type is that of a turn; further parameters are those of `send`
 * @param options - see {@link UseChatOptions}
 * @returns the conversation, and what goes on with it
 * @throws RangeError for an option out of its range
 * @public
 */
export function useChat<Turn = ChatMessage, Args extends readonly unknown[] = []>(
  factory: (messages: Turn[], ...args: Args) => StreamSource,
  options: UseChatOptions<Turn> = {},
): UseChatResult<Turn, Args> {
  const [chat] = useState(() => new ComponentChat(factory, options));
  const messages = useSyncExternalStore(chat.store.subscribe, chat.store.get, chat.store.getInitial);
  useEffect(() => {
    chat.factory = factory;
  });
  useEffect(() => chat.enter(), [chat]);
  return useMemo(() => {
    const { send, stop, retry, reset } = chat;
    const last = messages.findLast((entry) => entry.role === 'assistant')?.answer;
    const { phase, error } = last ?? idleStreamState;
    return { messages, phase, ...(error !== undefined && { error }), send, stop, retry, reset };
  }, [chat, messages]);
}

/** What a component keeps from render to render. */
class ComponentChat<Turn, Args extends readonly unknown[]> {
  readonly store: ExternalStore<readonly ChatEntry<Turn>[]>;
  /** That of the last render. */
  factory: (messages: Turn[], ...args: Args) => StreamSource;
  readonly #runner: StreamRunner;
  readonly #userTurn: (text: string) => Turn;
  /** What the last answer was asked with. */
  #args: Args | undefined;
  #lastId: number;
  /** The entry whose answer is on its way. */
  #answering: number | undefined;

  constructor(factory: (messages: Turn[], ...args: Args) => StreamSource, options: UseChatOptions<Turn>) {
    const { initialMessages = [], userTurn = (text): Turn => ({ role: 'user', content: text }) as Turn } = options; // the default form is the caller's choice
    this.factory = factory;
    this.store = new ExternalStore(initialMessages.map(ended));
    this.#lastId = Math.max(0, ...initialMessages.map(({ id }) => id));
    this.#userTurn = userTurn;
    this.#runner = new StreamRunner(options, (answer) => {
      this.#show(answer);
    });
  }

  readonly send = (message: string | Turn | readonly Turn[], ...args: Args): void => {
    this.#runner.stop(); // what came of it is part of the conversation
    const text = typeof message === 'string' ? message : '';
    const turns = typeof message === 'string' ? [this.#userTurn(message)] : listOf(message);
    this.#ask([...this.store.get(), { id: this.#nextId(), role: 'user', text, turns }], args);
  };

  readonly stop = (): void => {
    this.#runner.stop();
  };

  readonly retry = (): void => {
    const messages = this.store.get();
    const at = messages.findLastIndex(({ role }) => role === 'user');
    if (at === -1) return;
    this.#ask(messages.slice(0, at + 1), this.#args ?? ([] as unknown as Args)); // of another visit: they are not kept
  };

  readonly reset = (): void => {
    this.#answering = undefined;
    this.#runner.reset();
    this.store.set([]);
  };

  enter(): () => void {
    return this.#runner.enter(() => undefined);
  }

  #ask(messages: readonly ChatEntry<Turn>[], args: Args): void {
    this.#args = args;
    const id = this.#nextId();
    this.#answering = id;
    this.store.set([...messages, { id, role: 'assistant', text: '', answer: idleStreamState }]);
    this.#runner.start(() => this.factory(messages.flatMap(turnsOf<Turn>), ...args));
  }

  #show(answer: StreamState): void {
    const id = this.#answering;
    if (id === undefined) return;
    if (answer.billing !== undefined) this.#answering = undefined;
    const { text } = answer;
    this.store.set(
      this.store.get().map((entry) => (entry.id === id ? { id, role: 'assistant', text, answer } : entry)),
    );
  }

  #nextId(): number {
    this.#lastId += 1;
    return this.#lastId;
  }
}

function listOf<Turn>(turns: Turn | readonly Turn[]): readonly Turn[] {
  return Array.isArray(turns) ? (turns as readonly Turn[]) : [turns as Turn]; // a turn is an object, and no list
}

/** What goes back of an entry. */
function turnsOf<Turn>(entry: ChatEntry<Turn>): readonly Turn[] {
  if (entry.role === 'user') return entry.turns;
  const { answer } = entry;
  const { phase, text, refusal, toolCalls, outputs } = answer;
  const isSilent = phase === 'complete' ? outputs.length === 0 && toolCalls.length === 0 : text === '';
  if (isSilent) return []; // a turn without content is refused
  const turn = answer.toRequest?.() ?? { role: 'assistant', content: text === '' ? refusal : text };
  return listOf(turn) as readonly Turn[]; // the provider's own form, which the factory hands to the provider
}

/** An answer that was on its way when it was stored does not come any more. */
function ended<Turn>(entry: ChatEntry<Turn>): ChatEntry<Turn> {
  if (entry.role === 'user' || entry.answer.billing !== undefined) return entry;
  return { ...entry, answer: { ...entry.answer, phase: 'interrupted', billing: 'unknown' } };
}
