import { asyncScheduler, Observable } from 'rxjs';
import { runApart } from '../internal/flow.js';
import { requireAtLeast, requireDelay, requireOneOf } from '../internal/require.js';
import { type ToolLimits, ToolRun, type Tools } from '../internal/toolRun.js';
import type { Call, CallRequest } from '../protocol/call.js';
import type { StreamEvent } from '../types.js';
import { fromCall, type FromCallOptions } from './fromCall.js';
import { fromHTTP } from './fromHTTP.js';

/** How tools are run; `fromCall`'s options are for each turn. @public */
export interface RunToolsOptions extends FromCallOptions, ToolLimits {}

/**
 * Lets a model call functions: runs them, gives the results back, and goes on with the model's next turn, until it answers.
 *
 * ```text
 * turn 1    -a-(cf|)               a = text, c = tool call, f = finish with reason tool-calls
 * run(c)        ----r
 * turn 2            -b--(g|)       asked with the conversation, turn 1 and r
 * result    -a-c----r-b--(g|)      r = tool-result; only the last finish is told
 * ```
 * The turns are one answer: its text is one text, with `separator` between two turns, `usage` is the sum over the turns so far, and
 * `finish` comes once. Functions are run when their turn is proven whole, so that a call that was cut is never run and none
 * is run twice where `retry` asks a turn again; a turn that begins anew takes the whole answer back (`restart`), and tells the
 * turns before it once more. A turn that was cut by its length or a filter, or that holds a call whose tool has no `run`, is the last one.
 * Calls that the provider runs itself, or answers in the same stream, are left alone. Where results are posted while the stream goes on (inference.sh), functions
 * are run as the calls come.
 *
 * The tools are declared in the request, in the provider's own form; here are the functions.
 *
 * Emits the events of every turn, and a `tool-result` for each call, in the order of the calls. Completes when the last turn is proven whole. Errors with what a
 * turn errors with, with a function's failure (see `onToolError`), and with LimitError at the limits. Unsubscribing stops the
 * request and aborts the functions' `signal`. Holds the turns so far, since they are sent back.
 * `timeout` and `retry` are for each turn; a `retryOnDisconnect` below this refuses to go on, since it does not know the later calls.
 *
 * @example
 * ```ts
 * const declared = { name: 'weather', parameters: { type: 'object', properties: { city: { type: 'string' } } } };
 * const asked = api.chat({ model, messages, tools: [{ type: 'function', function: declared }] });
 * const tools = {
 *   weather: { parameters: z.object({ city: z.string() }), run: ({ city }: { city: string }) => read(`https://weather.example/${city}`) },
 * };
 * runTools(asked, tools, { maxRounds: 4, retry: { count: 2 } }).pipe(toStdout()).subscribe();
 * ```
 * @param call - of a provider that takes results; it says so by its `tools`
 * @param tools - the functions, by name
 * @param options - see {@link RunToolsOptions}; `fromCall`'s are for each turn
 * @returns a cold observable
 * @throws TypeError where the call's provider takes no results, and TypeError or RangeError for an option out of its range
 * @public
 */
export function runTools<Arguments extends Record<string, unknown>>(
  call: Call,
  tools: Tools<Arguments>,
  options: RunToolsOptions = {},
): Observable<StreamEvent> {
  const { maxRounds = 10, maxElapsedMs, concurrency = Infinity, onToolError = 'error', ...rest } = options;
  const { separator, onRound, ...asking } = rest;
  requireAtLeast(0, { maxRounds });
  requireAtLeast(1, { concurrency });
  if (maxElapsedMs !== undefined) requireDelay(0, { maxElapsedMs });
  requireOneOf('onToolError', onToolError, ['error', 'tell']);
  if (call.tools === undefined) {
    throw new TypeError(`runTools: ${call.provider} does not say how results of tools are given back to this call`);
  }
  const turns = (turn: Call): Observable<StreamEvent> => fromCall(turn, asking);
  void turns(call); // throws where an option is wrong
  const limits: ToolLimits = { maxRounds, maxElapsedMs, concurrency, onToolError, separator, onRound };
  const { signal, scheduler = asyncScheduler, maxReceivedChars = 1_048_576 } = asking;
  const transport = {
    ask: turns,
    post: (turn: Call, request: CallRequest) => post(turn, request, asking),
    signal,
    scheduler,
    maxReceivedChars,
  };
  const byName = tools as Tools<Record<string, unknown>>; // the model names them; arguments are what their schemas make of them
  return new Observable<StreamEvent>((subscriber) => {
    new ToolRun(byName, limits, transport, subscriber).start(call);
  });
}

/** Posts a result beside the stream that it is for. */
function post(
  call: Call,
  request: CallRequest,
  { signal: _, onResponse: __, ...options }: FromCallOptions,
): Observable<unknown> {
  return new Observable<unknown>((subscriber) => {
    const { method, url, body, headers } = request;
    const send = (credentials: Readonly<Record<string, string>>): void => {
      if (subscriber.closed) return;
      const all = { 'content-type': 'application/json', ...credentials, ...headers };
      // Whatever a success says, it is one.
      const sent = fromHTTP(url, { ...options, method, body, headers: all, accept: ['*/*'] });
      runApart(() => sent.subscribe(subscriber));
    };
    Promise.resolve(call.authorize()).then(send, (error: unknown) => {
      subscriber.error(error);
    });
  });
}
