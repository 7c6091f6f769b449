import type { Observable, OperatorFunction } from 'rxjs';
import { expectTypeOf } from 'vitest';
import {
  accumulate,
  asyncIterableFrom,
  type Call,
  type Collected,
  collect,
  decode,
  dialect,
  type Dialect,
  fromCall,
  fromHTTP,
  type JobReceipt,
  type Message,
  parseNDJSON,
  parseSSE,
  type Receipt,
  runJobs,
  runTools,
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
import * as z from 'zod/mini';
import { gateway, inferencesh, infernet, infron, polargrid } from 'millrace/providers';

declare const call: Call;
declare const anyDialect: Dialect;
declare const events: Observable<StreamEvent>;

// A pipe reads from left to right, and each stage takes what the one before gives.
expectTypeOf(fromHTTP('http://127.0.0.1/')).toEqualTypeOf<Observable<Uint8Array>>();
expectTypeOf(parseSSE()).toEqualTypeOf<OperatorFunction<Uint8Array, ServerSentEvent>>();
expectTypeOf(fromHTTP('http://127.0.0.1/').pipe(parseSSE(), decode(anyDialect))).toEqualTypeOf<
  Observable<StreamEvent>
>();
expectTypeOf(fromHTTP('http://127.0.0.1/').pipe(parseNDJSON(), decode(anyDialect))).toEqualTypeOf<
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

// A function gets what its schema makes of the arguments; without a schema they are unknown.
runTools(call, {
  weather: {
    parameters: z.object({ city: z.string() }),
    run: (args) => {
      expectTypeOf(args).toEqualTypeOf<{ city: string }>();
      return args.city;
    },
  },
  anything: {
    run: (args, { signal }) => {
      expectTypeOf(args).toBeUnknown();
      expectTypeOf(signal).toEqualTypeOf<AbortSignal>();
    },
  },
  confirm: {},
});
// @ts-expect-error the schema gives no such member
runTools(call, { weather: { parameters: z.object({ city: z.string() }), run: ({ town }) => String(town) } });

// A dialect's turn gives its type to the message.
const counted = dialect({
  frame: z.looseObject({ n: z.number() }),
  decode: ({ n }, stream) => {
    expectTypeOf(n).toEqualTypeOf<number>();
    expectTypeOf(stream.state).toEqualTypeOf<undefined>();
  },
  turn: { build: (seen) => ({ role: 'assistant' as const, pieces: seen.length }) },
});
expectTypeOf(events.pipe(accumulate({ dialect: counted }))).toEqualTypeOf<
  Observable<Message<{ role: 'assistant'; pieces: number }>>
>();
expectTypeOf(events.pipe(accumulate())).toEqualTypeOf<Observable<Message>>();

// A receipt has its job's own type.
declare const pages: AsyncIterable<{ readonly slug: string }>;
const jobsOptions = { dir: 'a', key: () => 'k', call: () => call, file: () => 'f' };
expectTypeOf(runJobs(pages, jobsOptions)).toEqualTypeOf<Observable<JobReceipt<{ readonly slug: string }>>>();
// @ts-expect-error a run without a folder has nowhere to write
runJobs(pages, { key: () => 'k', call: () => call, file: () => 'f' });
