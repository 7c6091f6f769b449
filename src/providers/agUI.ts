import * as z from 'zod/mini';
import type { StandardSchema } from '../protocol/standardSchema.js';
import { agUIDialect, type AGUIDialectOptions } from './agUIDialect.js';
import type { AGUIMessage } from './agUITurn.js';
import { type CallParts, type Calls, provider } from './provider.js';
import { absoluteURL, type ProviderOptions } from './support.js';

/** Where an agent is. @public */
export interface AGUIOptions extends Omit<ProviderOptions, 'baseURL'>, AGUIDialectOptions {
  /** The URL that a run is posted to; in a page also relative to it. */
  readonly url: string;
}

/** What a run is given (`RunAgentInput`); members beside these are sent as they are. @public */
export interface AGUIRequest {
  readonly threadId: string;
  readonly runId: string;
  readonly messages: readonly AGUIMessage[];
  /** @defaultValue none */
  readonly tools?: readonly unknown[] | undefined;
  /** @defaultValue none */
  readonly context?: readonly unknown[] | undefined;
  /** @defaultValue `{}` */
  readonly state?: unknown;
  /** @defaultValue `{}` */
  readonly forwardedProps?: unknown;
  readonly [key: string]: unknown;
}

/** What `agUI` makes. @public */
export interface AGUI {
  /** Runs the agent. */
  readonly run: Calls<AGUIRequest, readonly AGUIMessage[]>;
}

const Id = z.string('must be a string').check(z.minLength(1, 'must not be empty'));
const request: StandardSchema<AGUIRequest> = z.looseObject(
  {
    threadId: Id,
    runId: Id,
    messages: z.array(z.looseObject({ id: Id, role: Id }, 'must be a message'), 'must be a list of messages'),
    tools: z.optional(z.array(z.unknown(), 'must be a list')),
    context: z.optional(z.array(z.unknown(), 'must be a list')),
  },
  'must be an object',
);

/**
 * An agent that speaks AG-UI over HTTP: whatever framework it is written in.
 *
 * Tools that the agent runs tell their results in the stream; `runTools` runs those that it leaves to the front end, and begins the next
 * run with their results. Leaving closes the socket; whether the agent goes on is its own affair (`leaving`: `unknown`).
 *
 * @example
 * ```ts
 * const agent = agUI({ url: 'https://example.com/agent' });
 * const question = { id: 'm1', role: 'user', content: 'Why do rivers meander?' };
 * fromCall(agent.run({ threadId: 't1', runId: 'r1', messages: [question] })).pipe(toTokens()).subscribe(log);
 * ```
 * @throws TypeError for an option or, from its functions, a request that cannot be right; RangeError for a limit below 0
 * @public
 */
export function agUI(options: AGUIOptions): AGUI {
  const { url } = options;
  const api = provider({ name: 'agUI', baseURL: url, key: 'optional' }, options);
  const run: Calls<AGUIRequest, readonly AGUIMessage[]> = api.calls({
    name: 'run',
    request,
    dialect: agUIDialect(options),
    call: (asked): CallParts => ({
      stream: {
        ...api.post('/', { tools: [], context: [], state: {}, forwardedProps: {}, ...asked }),
        url: absoluteURL(url).replace(/#.*$/, ''), // as it is: a route without a slash at its end is another one with it
      },
      tools: {
        by: 'ask',
        next: (turn, results) => {
          const said = turn as readonly AGUIMessage[]; // built by the dialect above
          const answers = results.map(({ id, text }) => ({
            id: `${id}-result`,
            role: 'tool',
            toolCallId: id,
            content: text,
          }));
          return run({ ...asked, runId: `${asked.runId}-next`, messages: [...asked.messages, ...said, ...answers] });
        },
      },
    }),
  });
  return { run };
}
