import type { Observable } from 'rxjs';
import { expectTypeOf } from 'vitest';
import {
  type Billing,
  type Call,
  fromCall,
  idleStreamState,
  type StreamEvent,
  type StreamPhase,
  streamState,
  type StreamState,
} from 'millrace';
import {
  anthropic,
  type AnthropicMessage,
  chatDialect,
  type ChatMessage,
  type ChatTurn,
  openai,
} from 'millrace/providers';
import { type ChatEntry, type StartWhen, useChat, useStream } from 'millrace/react';

declare const call: Call;
declare const events: Observable<StreamEvent>;
declare const words: Observable<string>;

// States come from events and from text alike, and say what they are.
expectTypeOf(events.pipe(streamState())).toEqualTypeOf<Observable<StreamState>>();
expectTypeOf(words.pipe(streamState({ maxLogs: 10 }))).toEqualTypeOf<Observable<StreamState>>();
expectTypeOf(events.pipe(streamState({ dialect: chatDialect() }))).toEqualTypeOf<Observable<StreamState<ChatTurn>>>();
expectTypeOf(idleStreamState).toEqualTypeOf<StreamState>();
// @ts-expect-error a state never changes
idleStreamState.text = 'x';

// `start` has the parameters of the factory.
const plain = useStream(() => events);
expectTypeOf(plain.start).toEqualTypeOf<() => void>();
expectTypeOf(plain.stop).toEqualTypeOf<() => void>();
expectTypeOf(plain.reset).toEqualTypeOf<() => void>();
expectTypeOf(plain.phase).toEqualTypeOf<StreamPhase>();
expectTypeOf(plain.text).toEqualTypeOf<string>();
expectTypeOf(plain.billing).toEqualTypeOf<Billing | undefined>();
expectTypeOf(plain.heartbeat?.count).toEqualTypeOf<number | undefined>();
expectTypeOf(plain.error).toEqualTypeOf<unknown>();

const asked = useStream((question: string, temperature?: number) => fromCall(temperature === 0 ? call : call).pipe());
expectTypeOf(asked.start).toEqualTypeOf<(question: string, temperature?: number) => void>();
asked.start('why');
asked.start('why', 0.5);
// @ts-expect-error the question is missing
asked.start();
// @ts-expect-error no question
asked.start(4);

const many = useStream((...questions: string[]) => (questions.length > 1 ? events : words));
expectTypeOf(many.start).toEqualTypeOf<(...questions: string[]) => void>();

// A factory gives a stream of events, of text, or a call.
useStream(() => call);
useStream(() => words);
useStream(() => openai().chat({ model: 'm', messages: [] }));
// @ts-expect-error a promise of text is no stream
useStream(() => Promise.resolve('text'));

// Who starts by itself starts without arguments.
useStream(() => events, { startWhen: true, maxLogs: 10 });
useStream(() => events, { startWhen: 'a question' });
useStream((question = 'none') => (question === '' ? words : events), { startWhen: null });
useStream(() => events, { startWhen: true as StartWhen });
// @ts-expect-error its question would be missing
useStream((question: string) => (question === '' ? words : events), { startWhen: true });
// @ts-expect-error an object is another one at each render
useStream(() => events, { startWhen: {} });

// A chat is given the turns of its provider, and sends them.
const chat = useChat((messages) => {
  expectTypeOf(messages).toEqualTypeOf<ChatMessage[]>();
  return openai().chat({ model: 'm', messages });
});
expectTypeOf(chat.messages).toEqualTypeOf<readonly ChatEntry[]>();
chat.send('Hi');
chat.send({ role: 'tool', tool_call_id: 'c', content: 'rain' });
chat.send([{ role: 'tool', tool_call_id: 'c', content: 'rain' }]);
// @ts-expect-error no message
chat.send(4);
// @ts-expect-error it takes nothing more
chat.send('Hi', 'there');
for (const entry of chat.messages) {
  if (entry.role === 'assistant') expectTypeOf(entry.answer).toEqualTypeOf<StreamState>();
  else expectTypeOf(entry.turns).toEqualTypeOf<readonly ChatMessage[]>();
}

const claude = useChat((messages: AnthropicMessage[], temperature: number) =>
  anthropic().messages({ model: 'claude', max_tokens: 9, messages, temperature }),
);
claude.send('Hi', 0.5);
claude.send({ role: 'user', content: [{ type: 'text', text: 'Hi' }] }, 0.5);
// @ts-expect-error the temperature is missing
claude.send('Hi');
expectTypeOf(claude.retry).toEqualTypeOf<() => void>();

useChat((input: { readonly type: string }[]) => openai().responses({ model: 'm', input }), {
  userTurn: (text) => ({ type: 'message', role: 'user', content: text }),
});
