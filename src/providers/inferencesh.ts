import * as z from 'zod/mini';
import type { Call, CallRequest, LeavingPolicy, ToolPlan } from '../protocol/call.js';
import { type ErrorReport, isRecord } from '../protocol/errorBody.js';
import type { StandardSchema } from '../protocol/standardSchema.js';
import { attachCalls } from './attachCalls.js';
import { inferenceshAgentDialect, type InferenceshAgentDialectOptions } from './inferenceshAgentDialect.js';
import { unwrap } from './inferenceshFrame.js';
import { inferenceshTaskDialect } from './inferenceshTaskDialect.js';
import { pathSegment, readId } from './pathSegment.js';
import { type Calls, provider } from './provider.js';
import type { ProviderRequest } from './providerRequest.js';
import type { ProviderOptions } from './support.js';

/** Where inference.sh is and how its streams are read. @public */
export interface InferenceshOptions extends ProviderOptions, Pick<InferenceshAgentDialectOptions, 'separator'> {
  /** @defaultValue `https://api.inference.sh` */
  readonly baseURL?: string | undefined;
  /** Whether asking again can help after a task or a turn failed: it would be run, and billed, again. @defaultValue never */
  readonly retryable?: ((report: ErrorReport) => boolean) | undefined;
}

/** A run of an app; members beside these are sent as they are. @public */
export interface InferenceshRunRequest {
  /** `namespace/name@version`. */
  readonly app: string;
  readonly input: unknown;
  readonly setup?: unknown;
  readonly infra?: string | undefined;
  readonly function?: string | undefined;
  readonly session?: string | undefined;
  readonly [key: string]: unknown;
}

/** What the user says to an agent; members beside these are sent as they are. @public */
export interface InferenceshAgentInput {
  readonly text: string;
  readonly images?: readonly unknown[] | undefined;
  readonly files?: readonly unknown[] | undefined;
  readonly [key: string]: unknown;
}

/** One turn of a chat with an agent: `agent`, or `agent_config` with `agent_name`. @public */
export interface InferenceshAgentRequest {
  /** `namespace/name@version`. */
  readonly agent?: string | undefined;
  readonly agent_config?: Readonly<Record<string, unknown>> | undefined;
  readonly agent_name?: string | undefined;
  readonly input: string | InferenceshAgentInput;
  /** A chat to go on with; without it the turn begins a new one. */
  readonly chat_id?: string | undefined;
  readonly [key: string]: unknown;
}

/** A function that makes calls, with the dialect they are answered in. @public */
export type InferenceshCalls<Request> = Calls<Request>;

/** What `inferencesh` makes. @public */
export interface Inferencesh {
  /** Runs an app as a task and reads its stream. Stopping cancels the task. */
  readonly run: InferenceshCalls<InferenceshRunRequest>;
  /** Reads the stream of a task that exists; leaving does not cancel it. */
  readonly attach: InferenceshCalls<string>;
  /** Asks an agent and reads the turn. Stopping stops the chat. */
  readonly agent: InferenceshCalls<InferenceshAgentRequest>;
  /** Reads the turn that is running in a chat, or the next one; leaving does not stop it. */
  readonly attachChat: InferenceshCalls<string>;
  /** The request that gives an agent the result of a tool that it called; a result that is no string is sent as JSON text. */
  readonly submitToolResult: (toolInvocationId: string, result: unknown) => ProviderRequest;
}

const STREAM = ['application/x-ndjson', 'text/event-stream'];
const JSON_ANSWER = ['application/json'];
/** Between two readings of a task or a chat, as the API's own client does. */
const POLL_MS = 2_000;

const Name = z.string().check(z.minLength(1));
const RunRequest: StandardSchema<InferenceshRunRequest> = z.looseObject({ app: Name, input: z.unknown() });
const AgentRequest: StandardSchema<InferenceshAgentRequest> = z.looseObject({
  agent: z.optional(Name),
  agent_config: z.optional(z.looseObject({})),
  agent_name: z.optional(z.string()),
  input: z.union([z.string(), z.looseObject({ text: z.string() })]),
  chat_id: z.optional(Name),
});

/**
 * inference.sh: apps that run as tasks with logs and progress, and agents that answer in chats.
 *
 * A task or a turn goes on when its reader is lost; stopping on purpose ends it, through the API's own cancel, and only where
 * this call began it. Streams are asked for as NDJSON and read as server-sent events where the server prefers that.
 *
 * @example
 * ```ts
 * const api = inferencesh({ apiKey }); // or the environment variable INFERENCE_API_KEY; keys look like inf_…
 * fromCall(api.run({ app: 'openrouter/llama@1', input: { text: 'Hello' } })).pipe(toTokens()).subscribe(console.log);
 * ```
 * @throws TypeError for an option or, from its functions, a request that cannot be right, and where a key is missing
 * @public
 */
export function inferencesh(options: InferenceshOptions = {}): Inferencesh {
  const { retryable, separator } = options;
  const created: LeavingPolicy = { stop: 'ended', disconnect: 'continues' };
  const attached: LeavingPolicy = { stop: 'continues', disconnect: 'continues', ...options.leaving };
  const api = provider(
    { name: 'inferencesh', baseURL: 'https://api.inference.sh', env: 'INFERENCE_API_KEY', leaving: created },
    options,
  );
  const { authorize } = api; // throws where a key is missing
  const taskDialect = inferenceshTaskDialect({ retryable });
  const agentDialect = inferenceshAgentDialect({ retryable, separator });

  const post = (path: string, body?: unknown): CallRequest => api.post(path, body, JSON_ANSWER);
  const task = (id: string): string => `/tasks/${pathSegment(id, 'the task id')}`;
  const chat = (id: string): string => `/chats/${pathSegment(id, 'the chat id')}`;
  const reading = (pathOf: (id: string) => string): Pick<Call, 'stream' | 'resume'> => ({
    stream: (id) => api.get(`${pathOf(id)}/stream`, STREAM),
    resume: {
      by: 'reattach',
      stored: { request: (id) => api.get(pathOf(id), JSON_ANSWER), use: 'instead', everyMs: POLL_MS },
    },
  });
  const tasks = reading(task);
  const chats = reading(chat);
  const submitResult = (id: string, result: string): CallRequest =>
    post(`/tools/${pathSegment(id, 'the tool invocation id')}`, { result });
  const tools: ToolPlan = {
    by: 'post',
    // The API has no sign for a failure: as its own client does, the text says it.
    post: ({ id, text, isError }) => submitResult(id, isError === true ? JSON.stringify({ error: text }) : text),
  };

  return {
    run: api.calls({
      name: 'run',
      request: RunRequest,
      dialect: taskDialect,
      call: (request) => ({
        ...tasks,
        model: request.app,
        submit: post('/apps/run', request),
        readWorkId: (answer) => readId(member(unwrap(answer), 'id'), 'the task id'),
        cancel: (id) => post(`${task(id)}/cancel`),
      }),
    }),
    attach: attachCalls(api, { ...tasks, name: 'attach', dialect: taskDialect, leaving: attached }),
    agent: api.calls({
      name: 'agent',
      request: AgentRequest,
      dialect: agentDialect,
      call: (request) => {
        const { agent, agent_config, agent_name, chat_id: workId } = request;
        if (agent === undefined && agent_config === undefined) {
          throw new TypeError('the request of inferencesh.agent needs agent, or agent_config with agent_name');
        }
        if (workId !== undefined) chat(workId); // throws where the id is wrong
        return {
          ...chats,
          model: agent ?? agent_name,
          submit: post('/agents/run', { ...request, input: agentInput(request.input) }),
          readWorkId: readChatId,
          ...(workId !== undefined && { workId }),
          cancel: (id) => post(`${chat(id)}/stop`),
          tools,
        };
      },
    }),
    attachChat: attachCalls(api, { ...chats, name: 'attachChat', dialect: agentDialect, leaving: attached, tools }),
    submitToolResult: (toolInvocationId, result) => {
      const text = typeof result === 'string' ? result : JSON.stringify(result);
      // What has no JSON (undefined, a function) is no result.
      if (typeof text !== 'string') {
        throw new TypeError(`the result of a tool must be a string or JSON, got ${typeof result}`);
      }
      return { provider: 'inferencesh', request: submitResult(toolInvocationId, text), authorize };
    },
  };
}

/** The members that the API expects of every input, under those that were given. */
function agentInput(input: InferenceshAgentRequest['input']): object {
  const given = typeof input === 'string' ? { text: input } : input;
  return { role: 'user', context: [], system_prompt: '', context_size: 0, ...given };
}

function readChatId(answer: unknown): string {
  const body = unwrap(answer);
  const said = [member(body, 'assistant_message'), member(body, 'user_message'), body];
  return readId(
    said.map((message) => member(message, 'chat_id')).find((id) => typeof id === 'string'),
    'the chat id',
  );
}

function member(value: unknown, key: string): unknown {
  return isRecord(value) ? value[key] : undefined;
}
