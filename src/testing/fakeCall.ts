import { from, map, type ObservableInput } from 'rxjs';
import { scripted } from '../internal/script.js';
import type { Call } from '../protocol/call.js';
import type { Decoder, Dialect } from '../protocol/dialect.js';
import type { NDJSONLine, StreamEvent } from '../types.js';

/** What a fake call says of itself. @public */
export interface FakeCallOptions {
  /** @defaultValue `'fake'` */
  readonly provider?: string | undefined;
  readonly model?: string | undefined;
  /**
   * How `retryOnDisconnect` goes on. `'anew'`: the events of another subscription are another answer. `'on'`: they go on where the
   * one before broke. @defaultValue `'anew'`
   */
  readonly resume?: 'anew' | 'on' | undefined;
}

/**
 * A call whose answer is given as events, for tests of one's own pipes: no server, no socket, and virtual time where the events
 * come from a marble diagram.
 *
 * ```text
 * events    --a--b--(f|)      a, b = text; f = finish
 * result    --a--b--(f|)      fromCall(fakeCall(events))
 *
 * events    --a--b--|         no finish
 * result    --a--b--#         InterruptedError
 * ```
 * The laws hold as for a real call: it completes only with `finish`, errors carry `received`, sinks judge it by its flow.
 *
 * @example
 * ```ts
 * const call = fakeCall([
 *   { type: 'text', text: 'Hello', index: 0, name: 'output' },
 *   { type: 'finish', reason: 'stop' },
 * ]);
 * ```
 * @param events - an array, or an observable such as `cold('-a-b-(f|)', values)`; subscribed to once per subscription
 * @param options - see {@link FakeCallOptions}
 * @returns a call for `fromCall`
 * @public
 */
export function fakeCall(events: ObservableInput<StreamEvent>, options: FakeCallOptions = {}): Call {
  const call: Call = {
    provider: options.provider ?? 'fake',
    model: options.model,
    dialect: fake,
    authorize: () => ({}),
    stream: () => ({ method: 'GET', url: 'http://fake.invalid/', accept: [] }),
    leaving: { stop: 'ended', disconnect: 'continues' },
    ...(options.resume === 'on' ? { workId: 'fake', resume: { by: 'reattach' } } : { resume: { by: 'ask' } }),
  };
  return scripted(call, from(events).pipe(map((event, index) => new ScriptedLine(event, index + 1))));
}

/** A line that carries its event beside its JSON. */
class ScriptedLine implements NDJSONLine {
  readonly type = 'line';
  readonly scripted: StreamEvent;
  readonly number: number;

  constructor(event: StreamEvent, number: number) {
    this.scripted = event;
    this.number = number;
  }

  get data(): string {
    return JSON.stringify(this.scripted);
  }
}

const fake: Dialect = {
  name: 'fake',
  framing: 'ndjson',
  decoder: (): Decoder => {
    let isDone = false;
    return {
      push: (line, emit) => {
        if (isDone) return 'done';
        const event = line instanceof ScriptedLine ? line.scripted : undefined;
        if (event === undefined) return 'open';
        emit(event);
        isDone = event.type === 'finish';
        return isDone ? 'done' : 'open';
      },
      end: () => isDone,
      submitted: () => undefined,
    };
  },
};
