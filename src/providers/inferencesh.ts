import * as z from 'zod/mini';
import type { Call, CallRequest, LeavingPolicy, ResumePlan, StoredWork } from '../protocol/call.js';
import type { Dialect } from '../protocol/dialect.js';
import type { ErrorReport } from '../protocol/errorBody.js';
import { isRecord } from '../protocol/errorBody.js';
import { inferenceshAgentDialect, type InferenceshAgentDialectOptions } from './inferenceshAgentDialect.js';
import { unwrap } from './inferenceshFrame.js';
import { inferenceshTaskDialect } from './inferenceshTaskDialect.js';
import { pathSegment, readId } from './pathSegment.js';
import type { ProviderRequest } from './providerRequest.js';
import { bearer, checkRequest, joinURL, type ProviderOptions, withDialect } from './support.js';

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
export type InferenceshCalls<Request> = ((request: Request) => Call) & { readonly dialect: Dialect };

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
const RunRequest = z.looseObject({ app: Name, input: z.unknown() });
const AgentRequest = z.looseObject({
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
  const { apiKey, baseURL = 'https://api.inference.sh', headers, retryable, separator } = options;
  const authorize = bearer(apiKey, 'INFERENCE_API_KEY', 'inferencesh');
  const tasks = inferenceshTaskDialect({ retryable });
  const chats = inferenceshAgentDialect({ retryable, separator });
  const created: LeavingPolicy = { stop: 'ended', disconnect: 'continues', ...options.leaving };
  const attached: LeavingPolicy = { stop: 'continues', disconnect: 'continues', ...options.leaving };

  const post = (path: string, body?: unknown): CallRequest => ({
    method: 'POST',
    url: joinURL(baseURL, path),
    headers,
    ...(body === undefined ? undefined : { body: JSON.stringify(body) }),
    accept: JSON_ANSWER,
  });
  const get = (path: string): CallRequest => ({ method: 'GET', url: joinURL(baseURL, path), headers, accept: STREAM });
  const taskStream = (id: string): CallRequest => get(`/tasks/${pathSegment(id, 'the task id')}/stream`);
  const chatStream = (id: string): CallRequest => get(`/chats/${pathSegment(id, 'the chat id')}/stream`);
  const stored = (path: string, what: string): StoredWork => ({
    request: (id) => ({ ...get(`${path}/${pathSegment(id, what)}`), accept: JSON_ANSWER }),
    use: 'instead',
    everyMs: POLL_MS,
  });
  const common = { provider: 'inferencesh', authorize };
  const resumeTask: ResumePlan = { by: 'reattach', stored: stored('/tasks', 'the task id') };
  const resumeChat: ResumePlan = { by: 'reattach', stored: stored('/chats', 'the chat id') };
  get('/'); // throws where the base is wrong

  return {
    run: withDialect((request: InferenceshRunRequest): Call => {
      const { app } = checkRequest(RunRequest, request, 'the request of inferencesh.run');
      return {
        ...common,
        model: app,
        dialect: tasks,
        submit: post('/apps/run', request),
        readWorkId: (answer) => readId(member(unwrap(answer), 'id'), 'the task id'),
        stream: taskStream,
        cancel: (id) => post(`/tasks/${pathSegment(id, 'the task id')}/cancel`),
        leaving: created,
        resume: resumeTask,
      };
    }, tasks),
    attach: withDialect((taskId: string): Call => {
      taskStream(taskId); // throws where the id is wrong
      return { ...common, dialect: tasks, workId: taskId, stream: taskStream, leaving: attached, resume: resumeTask };
    }, tasks),
    agent: withDialect((request: InferenceshAgentRequest): Call => {
      const { agent, agent_config, agent_name, chat_id } = checkRequest(
        AgentRequest,
        request,
        'the request of inferencesh.agent',
      );
      if (agent === undefined && agent_config === undefined) {
        throw new TypeError('the request of inferencesh.agent needs agent, or agent_config with agent_name');
      }
      if (chat_id !== undefined) chatStream(chat_id); // throws where the id is wrong
      return {
        ...common,
        model: agent ?? agent_name,
        dialect: chats,
        submit: post('/agents/run', { ...request, input: agentInput(request.input) }),
        readWorkId: readChatId,
        ...(chat_id === undefined ? undefined : { workId: chat_id }),
        stream: chatStream,
        cancel: (id) => post(`/chats/${pathSegment(id, 'the chat id')}/stop`),
        leaving: created,
        resume: resumeChat,
      };
    }, chats),
    attachChat: withDialect((chatId: string): Call => {
      chatStream(chatId); // throws where the id is wrong
      return { ...common, dialect: chats, workId: chatId, stream: chatStream, leaving: attached, resume: resumeChat };
    }, chats),
    submitToolResult: (toolInvocationId, result) => {
      const text = typeof result === 'string' ? result : JSON.stringify(result);
      // What has no JSON (undefined, a function) is no result.
      if (typeof text !== 'string') {
        throw new TypeError(`the result of a tool must be a string or JSON, got ${typeof result}`);
      }
      const path = `/tools/${pathSegment(toolInvocationId, 'the tool invocation id')}`;
      return { provider: 'inferencesh', request: post(path, { result: text }), authorize };
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
