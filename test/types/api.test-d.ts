import type { Observable, OperatorFunction } from 'rxjs';
import { expectTypeOf } from 'vitest';
import {
  asyncIterableFrom,
  type Call,
  type Collected,
  collect,
  decode,
  type Dialect,
  fromCall,
  fromHTTP,
  parseNDJSON,
  parseSSE,
  type Receipt,
  type ServerSentEvent,
  stopOn,
  type StreamEvent,
  tapEvents,
  tapReceipt,
  toFile,
  type ToolCallEvent,
  toStdout,
  toTokens,
} from 'millrace';
import { gateway, inferencesh, infernet, infron, polargrid } from 'millrace/providers';

declare const call: Call;
declare const dialect: Dialect;
declare const events: Observable<StreamEvent>;

// A pipe reads from left to right, and each stage takes what the one before gives.
expectTypeOf(fromHTTP('http://127.0.0.1/')).toEqualTypeOf<Observable<Uint8Array>>();
expectTypeOf(parseSSE()).toEqualTypeOf<OperatorFunction<Uint8Array, ServerSentEvent>>();
expectTypeOf(fromHTTP('http://127.0.0.1/').pipe(parseSSE(), decode(dialect))).toEqualTypeOf<Observable<StreamEvent>>();
expectTypeOf(fromHTTP('http://127.0.0.1/').pipe(parseNDJSON(), decode(dialect))).toEqualTypeOf<
  Observable<StreamEvent>
>();
expectTypeOf(fromCall(call).pipe(toTokens())).toEqualTypeOf<Observable<string>>();
expectTypeOf(fromCall(call).pipe(toFile('a'))).toEqualTypeOf<Observable<Receipt>>();
expectTypeOf(fromCall(call).pipe(toTokens(), toStdout())).toEqualTypeOf<Observable<Receipt>>();
expectTypeOf(fromCall(() => Promise.resolve(call))).toEqualTypeOf<Observable<StreamEvent>>();
expectTypeOf(collect(call)).toEqualTypeOf<Promise<Collected>>();
expectTypeOf(collect(events)).toEqualTypeOf<Promise<Collected>>();
expectTypeOf(asyncIterableFrom(events.pipe(toTokens()))).toEqualTypeOf<AsyncIterable<string>>();

// @ts-expect-error tokens come from events, not from bytes
fromHTTP('http://127.0.0.1/').pipe(toTokens());
// @ts-expect-error bytes are no text: they are parsed or decoded first
fromHTTP('http://127.0.0.1/').pipe(toFile('a'));

// What passes through keeps its type.
expectTypeOf(events.pipe(stopOn(new AbortController().signal))).toEqualTypeOf<Observable<StreamEvent>>();
expectTypeOf(
  events.pipe(
    toTokens(),
    tapReceipt(() => undefined),
  ),
).toEqualTypeOf<Observable<string>>();

// Each callback gets its own event, and there is none for events that do not exist.
tapEvents({
  'tool-call': (event) => {
    expectTypeOf(event).toEqualTypeOf<ToolCallEvent>();
  },
  finish: ({ reason }) => {
    expectTypeOf(reason).toEqualTypeOf<
      'stop' | 'length' | 'content-filter' | 'tool-calls' | 'refusal' | 'other' | 'unknown'
    >();
  },
});
// @ts-expect-error there is no such event
tapEvents({ token: () => undefined });

// Only events of the framing have `data`, so it can be read only after a look at `type`.
declare const event: ServerSentEvent;
// @ts-expect-error a comment has no data
void event.data;
if (event.type === 'event') expectTypeOf(event.data).toEqualTypeOf<string>();

// Requests are typed, and what an API adds tomorrow passes.
expectTypeOf(polargrid({ apiKey: 'k' }).chat({ model: 'm', messages: [], brand_new: true })).toEqualTypeOf<Call>();
// @ts-expect-error a chat has messages
polargrid({ apiKey: 'k' }).chat({ model: 'm' });
// @ts-expect-error a model has a name
infron({ apiKey: 'k' }).chat({ messages: [] });
// @ts-expect-error an app is named
inferencesh({ apiKey: 'k' }).run({ input: {} });
// @ts-expect-error a key is a string or a function that gives one
infernet({ apiKey: 7 });
expectTypeOf(gateway({ apiKey: 'k' }).chat.dialect).toEqualTypeOf<Dialect>();
