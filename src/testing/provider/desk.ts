import type { ReceivedRequest } from '../exchange.js';
import type { ProviderName } from '../providerName.js';
import type { Pace, ScriptedAnswer } from '../scriptedAnswer.js';
import type { ChatTurn } from '../wire/inferenceshChat.js';
import type { TaskState, TaskStep } from '../wire/inferenceshTask.js';
import type { Work } from './work.js';

/** Which request a scripted answer is for; what is left out fits any. @public */
export interface RequestPattern {
  readonly provider?: ProviderName | undefined;
  readonly method?: 'GET' | 'POST' | undefined;
  /** The whole path, or an expression it must match. */
  readonly path?: string | RegExp | undefined;
}

/** The answer found for a request. */
export interface Taken {
  readonly script: ScriptedAnswer;
  /** It was ordered for this very request, so that its fault belongs here and not to the stream of the work it creates. */
  readonly isExact: boolean;
}

/** A task of inference.sh: its work, and its life in steps. */
export interface Task {
  readonly work: Work;
  readonly created: TaskState;
  readonly steps: readonly TaskStep[];
}

/** A turn of a chat, and the result of the tool it may be waiting for. */
export interface Turn {
  readonly work: Work;
  readonly ids: ChatTurn;
  readonly toolDone: AbortController;
}

/** A chat: its newest turn, and the streams that wait for one. */
export interface Chat {
  turn?: Turn;
  readonly begun: EventTarget;
}

/** What the server keeps between requests. */
export class Desk {
  readonly jobs: Map<string, Work> = new Map();
  readonly tasks: Map<string, Task> = new Map();
  readonly turnsByTool: Map<string, Turn> = new Map();
  readonly pace: Pace;
  readonly now: () => number;
  readonly #chats: Map<string, Chat> = new Map();
  readonly #queue: { readonly script: ScriptedAnswer; readonly when: RequestPattern | undefined }[] = [];
  readonly #answer: (request: ReceivedRequest) => ScriptedAnswer | undefined;
  readonly #counts: Map<string, number> = new Map();

  constructor(pace: Pace, now: () => number, answer: (request: ReceivedRequest) => ScriptedAnswer | undefined) {
    this.pace = pace;
    this.now = now;
    this.#answer = answer;
  }

  order(script: ScriptedAnswer, when: RequestPattern | undefined): void {
    this.#queue.push({ script, when });
  }

  /** Takes the first order that fits. Orders without a pattern wait for a request that begins an answer. */
  take(request: ReceivedRequest, provider: ProviderName, begins: boolean): Taken | undefined {
    const index = this.#queue.findIndex(({ when }) => (when === undefined ? begins : fits(when, request, provider)));
    const [order] = index === -1 ? [] : this.#queue.splice(index, 1);
    if (order !== undefined) return { script: order.script, isExact: order.when?.path !== undefined };
    return begins ? { script: this.#answer(request) ?? {}, isExact: false } : undefined;
  }

  /** A chat is made by whoever names it first: clients open the stream before they say anything. */
  chat(id: string): Chat {
    const chat = this.#chats.get(id) ?? { begun: new EventTarget() };
    this.#chats.set(id, chat);
    return chat;
  }

  /** Ids that are the same in every run: `job_0001`, `job_0002`. */
  id(prefix: string): string {
    const count = (this.#counts.get(prefix) ?? 0) + 1;
    this.#counts.set(prefix, count);
    return `${prefix}${String(count).padStart(4, '0')}`;
  }
}

function fits({ provider, method, path }: RequestPattern, request: ReceivedRequest, asked: ProviderName): boolean {
  if (provider !== undefined && provider !== asked) return false;
  if (method !== undefined && method !== request.method) return false;
  if (path === undefined) return true;
  return typeof path === 'string' ? path === request.path : new RegExp(path).test(request.path);
}
