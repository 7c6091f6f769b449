import type { Observable, SchedulerLike, Subscriber } from 'rxjs';
import { type AbortError, isMillraceError, LimitError } from '../errors.js';
import type { Call, CallRequest, ToolPlan, ToolResult } from '../protocol/call.js';
import type { TurnOptions } from '../protocol/dialect.js';
import type { StandardIssue, StandardSchema } from '../protocol/standardSchema.js';
import type {
  FinishEvent,
  FinishReason,
  RestartEvent,
  StoppedBy,
  StreamEvent,
  TextEvent,
  ToolCallEvent,
  ToolResultEvent,
  Usage,
  UsageEvent,
} from '../types.js';
import { addUsage } from './addUsage.js';
import { openFlow } from './connectDecoder.js';
import { Flow, leaveAs, Scope, thisPlace } from './flow.js';
import { onAbort } from './onAbort.js';
import { draw } from './operate.js';
import { ReceivedText } from './receivedText.js';
import { stoppedBy } from './stoppedBy.js';
import { TurnLog } from './turnLog.js';

/** What a function is told besides the arguments. @public */
export interface ToolContext {
  readonly id: string;
  readonly name: string;
  /** Aborted when the stream is left, stopped or fails, and when its time is up. */
  readonly signal: AbortSignal;
}

/** A function that the model may call. @public */
export interface Tool<Arguments = unknown> {
  /** What the arguments must be; any Standard Schema, also an asynchronous one. @defaultValue whatever the model sends */
  readonly parameters?: StandardSchema<Arguments> | undefined;
  /**
   * Gives the result, or a promise of it: text, or what has a JSON form; `undefined` is an empty text. Without `run` the stream
   * ends with the call, and the caller goes on.
   */
  readonly run?: ((args: Arguments, context: ToolContext) => unknown) | undefined;
}

/** Functions by the names under which the request declares them. @public */
export type Tools<Arguments> = { readonly [Name in keyof Arguments]: Tool<Arguments[Name]> };

/** One round: the model asked for tools, and they answered. @public */
export interface ToolRound {
  /** From 1. */
  readonly round: number;
  /** The assistant's turn in the provider's own form, as it is sent back. */
  readonly turn: unknown;
  readonly results: readonly ToolResult[];
}

/** How tools are run. @public */
export interface ToolLimits {
  /**
   * How often results are given back; a model that asks once more ends the stream with a LimitError. At least 0. Where results are
   * posted one by one, each counts.
   * @defaultValue 10 (chosen)
   */
  readonly maxRounds?: number | undefined;
  /** How long the whole may take, tools included; then it ends with a LimitError. @defaultValue no limit */
  readonly maxElapsedMs?: number | undefined;
  /** Functions of a turn that run at once, at least 1. @defaultValue `Infinity` */
  readonly concurrency?: number | undefined;
  /**
   * What a function's own failure does. `'error'`: it ends the stream. `'tell'`: its message is told to the model, which may try
   * something else, and a `warning` event `tool-failed` tells the reader. Mistakes of the model (arguments that do not fit, a name
   * that is not there) are told to it in either case.
   * @defaultValue `'error'`: a failure of the program is not hidden, and its words, which may be secret, go to nobody
   */
  readonly onToolError?: 'error' | 'tell' | undefined;
  /** What stands between the texts of two turns. @defaultValue a blank line, as between the messages of an inference.sh turn */
  readonly separator?: string | undefined;
  /** Hears of each round when its results are there, before they are given back; for a history of one's own. */
  readonly onRound?: ((round: ToolRound) => void) | undefined;
}

/** How a run reaches the outside. */
export interface ToolTransport {
  /** Asks for a turn. */
  readonly ask: (call: Call) => Observable<StreamEvent>;
  /** Posts a result beside the stream; completes when it was taken. */
  readonly post: (call: Call, request: CallRequest) => Observable<unknown>;
  readonly signal: AbortSignal | undefined;
  readonly scheduler: SchedulerLike;
  readonly maxReceivedChars: number;
}

/** What a turn's calls came to. */
interface Outcome {
  readonly told: ToolResult;
  readonly event: ToolResultEvent;
}

/** One subscription to `runTools`. */
export class ToolRun {
  readonly #tools: Tools<Record<string, unknown>>;
  readonly #limits: ToolLimits;
  readonly #transport: ToolTransport;
  readonly #subscriber: Subscriber<StreamEvent>;
  /** Turns that are asked for later are asked as if here. */
  readonly #here = thisPlace();
  /** Stands for the whole: between two turns no request is open, and yet nothing is proven. */
  readonly #whole = new Flow({ isMarker: true });
  readonly #abort = new AbortController();
  #rounds = 0;
  readonly #received: ReceivedText;
  /** The turns before this one, as a reader has to hear them after a restart. */
  #told: readonly StreamEvent[] = [];
  #spent: Usage | undefined;

  constructor(
    tools: Tools<Record<string, unknown>>,
    limits: ToolLimits,
    transport: ToolTransport,
    subscriber: Subscriber<StreamEvent>,
  ) {
    this.#tools = tools;
    this.#limits = limits;
    this.#transport = transport;
    this.#subscriber = subscriber;
    this.#received = new ReceivedText(transport.maxReceivedChars);
    this.#whole.received = () => this.#received.get();
  }

  start(call: Call): void {
    const { maxElapsedMs } = this.#limits;
    const { signal, scheduler } = this.#transport;
    const subscriber = this.#subscriber;
    const leave = (by: StoppedBy, error: AbortError): void => {
      leaveAs('stop', by, () => {
        this.#whole.leave();
        this.#fail(error);
      });
    };
    this.#whole.onStop = (error): void => {
      leave('shutdown', error);
    };
    openFlow(this.#whole, subscriber);
    subscriber.add(() => {
      this.#abort.abort();
    });
    if (maxElapsedMs !== undefined) {
      const late = (): void => {
        this.#fail(
          limitError(
            'maxElapsedMs',
            maxElapsedMs,
            `The turns and their tools took more than ${String(maxElapsedMs)} ms`,
          ),
        );
      };
      subscriber.add(scheduler.schedule(late, maxElapsedMs));
    }
    if (signal !== undefined) {
      // While a turn is asked for its call hears the signal as well, and first.
      const stop = (): void => {
        leave('signal', stoppedBy(signal));
      };
      subscriber.add(onAbort(signal, stop));
    }
    this.#ask(call);
  }

  #ask(call: Call): void {
    const plan = planOf(call);
    const { turn: form } = call.dialect;
    const turn = new Turn(this.#told, this.#limits.separator ?? '\n\n', form?.needs);
    /** A call may be told again after a reconnect. */
    const posted = new Set<string>();
    let finish: FinishEvent | undefined;
    const scope = new Scope(false);
    scope.isStream = true; // the whole run is: a turn is a part of it
    draw<StreamEvent>(this.#transport.ask(call), this.#subscriber, scope, () => ({
      next: (event) => {
        if (event.type === 'finish') {
          finish = event;
          return;
        }
        for (const told of turn.take(event.type === 'usage' ? this.#sum(event) : event)) this.#tell(told);
        if (plan.by === 'ask' || event.type !== 'tool-call' || !isOurs(event) || posted.has(event.id)) return;
        posted.add(event.id);
        this.#answer(call, plan, event);
      },
      error: (error) => {
        this.#fail(error);
      },
      complete: () => {
        this.#spent = turn.usage ?? (this.#spent && { ...this.#spent, provenance: 'partial' });
        this.#told = [...this.#told, ...turn.events];
        if (finish === undefined)
          this.#subscriber.complete(); // it was told before, to whoever asked again below
        else if (plan.by === 'post') this.#finish(finish);
        else this.#goOn(plan, turn, finish, form?.build(turn.events));
      },
    }));
  }

  /** The turn is whole: its tools are run and the next one is asked for, or it was the last. */
  #goOn(plan: Extract<ToolPlan, { by: 'ask' }>, turn: Turn, finish: FinishEvent, said: unknown): void {
    const calls = turn.calls.filter((call) => isOurs(call) && !turn.answered.has(call.id));
    const isPaused = calls.length === 0 && plan.isPaused?.(finish) === true;
    const isLast = turn.isCut || (calls.length === 0 && !isPaused) || calls.some(({ name }) => this.#isCallers(name));
    if (isLast || CUT.has(finish.reason)) {
      this.#finish(finish);
      return;
    }
    this.#countRound();
    this.#whole.position.content = true; // half an answer was told: whoever completes here completes half
    this.#then(this.#runAll(calls), (results) => {
      this.#limits.onRound?.({ round: this.#rounds, turn: said, results });
      if (this.#subscriber.closed) return;
      const next = plan.next(said, results);
      this.#here(() => {
        this.#ask(next);
      });
    });
  }

  /** Runs a turn's functions and tells their results in the order of the calls. */
  async #runAll(calls: readonly ToolCallEvent[]): Promise<readonly ToolResult[]> {
    const { concurrency = Infinity } = this.#limits;
    const outcomes: (Outcome | undefined)[] = calls.map(() => undefined);
    let next = 0;
    let toldUpTo = 0;
    const work = async (): Promise<void> => {
      for (let at = next++; at < calls.length && !this.#subscriber.closed; at = next++) {
        const call = calls[at];
        if (call !== undefined) outcomes[at] = await this.#run(call);
        for (let done = outcomes[toldUpTo]; done !== undefined; done = outcomes[(toldUpTo += 1)])
          this.#tellResult(done);
      }
    };
    await Promise.all(Array.from({ length: Math.min(concurrency, calls.length) }, work));
    return outcomes.flatMap((outcome) => outcome?.told ?? []);
  }

  #tellResult({ event }: Outcome): void {
    this.#told = [...this.#told, event];
    this.#tellOwn(event);
  }

  /** Runs the function of one call while the stream goes on, and posts what it gave. */
  #answer(call: Call, plan: Extract<ToolPlan, { by: 'post' }>, asked: ToolCallEvent): void {
    if (this.#isCallers(asked.name)) return;
    this.#countRound();
    this.#then(this.#run(asked), ({ event, told }) => {
      this.#tellOwn(event);
      this.#limits.onRound?.({ round: this.#rounds, turn: undefined, results: [told] });
      if (this.#subscriber.closed) return;
      const fail = (error: unknown): void => {
        this.#fail(error);
      };
      this.#subscriber.add(this.#transport.post(call, plan.post(told)).subscribe({ error: fail }));
    });
  }

  async #run({ id, name, index, arguments: sent }: ToolCallEvent): Promise<Outcome> {
    const outcome = (result: unknown, isError: boolean): Outcome => {
      const failed = isError ? ({ isError: true } as const) : undefined;
      return {
        told: { id, name, text: textOf(result, name), ...failed },
        event: { type: 'tool-result', index, id, name, result, ...failed },
      };
    };
    const tool = Object.hasOwn(this.#tools, name) ? this.#tools[name] : undefined;
    if (tool?.run === undefined) return outcome(`There is no tool named ${JSON.stringify(name)}`, true);
    const checked = await tool.parameters?.['~standard'].validate(sent);
    if (checked?.issues !== undefined) return outcome(complaint(checked.issues), true);
    try {
      const { signal } = this.#abort;
      return outcome(await tool.run(checked === undefined ? sent : checked.value, { id, name, signal }), false);
    } catch (error) {
      if (this.#limits.onToolError !== 'tell' || this.#subscriber.closed) throw error;
      const message = error instanceof Error ? error.message : String(error);
      this.#tellOwn({
        type: 'warning',
        code: 'tool-failed',
        message: `The tool ${name} failed: ${message}`,
        detail: { id, name },
      });
      return outcome(message, true);
    }
  }

  /** True for a tool that the caller runs. */
  #isCallers(name: string): boolean {
    return Object.hasOwn(this.#tools, name) && this.#tools[name]?.run === undefined;
  }

  #countRound(): void {
    const { maxRounds = 10 } = this.#limits;
    this.#rounds += 1;
    if (this.#rounds <= maxRounds) return;
    throw limitError('maxRounds', maxRounds, `The model asked for tools more than ${String(maxRounds)} times`);
  }

  #finish(finish: FinishEvent): void {
    // Before it is delivered: whoever leaves at this event leaves a whole answer.
    this.#whole.finish = finish;
    this.#whole.proven = true;
    this.#subscriber.next(finish);
    this.#whole.end('complete');
    this.#subscriber.complete();
  }

  #tell(event: StreamEvent): void {
    if (event.type === 'text' && event.alternative !== true) this.#received.add(event.text);
    else if (event.type === 'restart') this.#received.clear();
    this.#subscriber.next(event);
  }

  /** Tells an event that comes from no turn. */
  #tellOwn(event: StreamEvent): void {
    this.#whole.deliver(() => {
      this.#tell(event);
    });
  }

  /** What was received is that of all turns. */
  #fail(error: unknown): void {
    if (isMillraceError(error)) error.received = this.#received.get();
    this.#subscriber.error(error);
  }

  #sum({ type, ...usage }: UsageEvent): UsageEvent {
    return { type, ...addUsage(this.#spent, usage) };
  }

  /** Goes on when functions have run; what fails after the end was aborted, and nobody waits for it. */
  #then<T>(running: Promise<T>, goOn: (value: T) => void): void {
    running
      .then((value) => {
        if (!this.#subscriber.closed) goOn(value);
      })
      .catch((error: unknown) => {
        this.#fail(error);
      });
  }
}

/** One turn as its reader hears it: a part of one answer. */
class Turn {
  calls: readonly ToolCallEvent[] = [];
  /** Calls whose results came in the stream: the server runs these tools. */
  readonly answered: Set<string> = new Set();
  /** A call was cut: no result can be given to it, and without it none to the others. */
  isCut = false;
  /** Of all turns so far. */
  usage: Usage | undefined;
  readonly #before: readonly StreamEvent[];
  readonly #charsBefore: number;
  readonly #separator: string;
  readonly #needs: TurnNeeds;
  readonly #log = new TurnLog();
  #isSeparated = false;

  constructor(before: readonly StreamEvent[], separator: string, needs: TurnNeeds) {
    this.#before = before;
    this.#charsBefore = before.reduce((chars, event) => chars + (event.type === 'text' ? event.text.length : 0), 0);
    this.#separator = separator;
    this.#needs = needs;
  }

  /** What the turn came to, joined; the separator is not the model's and no part of it. */
  get events(): readonly StreamEvent[] {
    return this.#log.view()();
  }

  /** Takes an event of the turn. @returns what the reader hears */
  take(event: StreamEvent): readonly StreamEvent[] {
    this.#log.add(event, this.#needs);
    switch (event.type) {
      case 'text':
        return event.alternative === true ? [event] : [...this.#separate(event), event];
      case 'tool-call':
        this.calls = [...this.calls, event];
        return [event];
      case 'tool-result':
        this.answered.add(event.id);
        return [event];
      case 'warning':
        this.isCut ||= event.code === 'tool-call-incomplete';
        return [event];
      case 'usage': {
        const { type: _, ...usage } = event;
        this.usage = usage;
        return [event];
      }
      case 'restart':
        return this.#restart(event);
      default:
        return [event];
    }
  }

  /** All turns are one answer: what begins anew is all of it. */
  #restart(event: RestartEvent): readonly StreamEvent[] {
    const separator = this.#isSeparated ? this.#separator.length : 0;
    const chars = this.#charsBefore + separator + event.discard.chars;
    this.calls = [];
    this.answered.clear();
    this.isCut = false;
    this.#isSeparated = false;
    return [{ ...event, discard: { ...event.discard, chars } }, ...this.#before];
  }

  #separate({ index, name }: TextEvent): readonly TextEvent[] {
    if (this.#isSeparated || this.#charsBefore === 0 || this.#separator === '') return [];
    this.#isSeparated = true;
    return [{ type: 'text', text: this.#separator, index, name }];
  }
}

type TurnNeeds = TurnOptions<unknown>['needs'];

function planOf({ tools, provider }: Call): ToolPlan {
  if (tools !== undefined) return tools;
  throw new TypeError(`runTools: ${provider} does not say how results of tools are given back to this call`);
}

/** Ends of a turn that was not told to its end: its calls are not answered. */
const CUT: ReadonlySet<FinishReason> = new Set(['length', 'content-filter', 'refusal']);

/** True for a call that the program is to run. */
function isOurs({ providerExecuted, alternative }: ToolCallEvent): boolean {
  return providerExecuted !== true && alternative !== true;
}

/** A result as the model reads it. */
function textOf(result: unknown, name: string): string {
  if (result === undefined) return '';
  const text: unknown = typeof result === 'string' ? result : JSON.stringify(result);
  if (typeof text === 'string') return text;
  throw new TypeError(`The tool ${name} gave a ${typeof result}, which has no JSON form`);
}

/** What is wrong with arguments, for the model that made them. */
function complaint(issues: readonly StandardIssue[]): string {
  const lines = issues.map(({ path = [], message }) => {
    const keys = path.map((part) => String(typeof part === 'object' ? part.key : part));
    return keys.length === 0 ? message : `${keys.join('.')}: ${message}`;
  });
  return `The arguments do not fit: ${lines.join('; ')}`;
}

function limitError(limit: string, max: number, what: string): LimitError {
  return new LimitError(limit, max, `${what}; raise ${limit} of runTools if they should`);
}
