import { toolDeltas } from './chatStream.js';
import {
  inferenceshFraming,
  type InferenceshFramingName,
  type InferenceshFrame,
  inferenceshHeartbeat,
} from './inferenceshFraming.js';
import { sseFrame } from './sseFrame.js';
import { chatUsage, textOf, type WireAnswer, type WireError, type WireStream } from './wireAnswer.js';

/** A task's states by their numbers on the wire. */
export const TASK_STATUS = {
  received: 1,
  queued: 2,
  dispatched: 3,
  preparing: 4,
  serving: 5,
  settingUp: 6,
  running: 7,
  cancelling: 8,
  uploading: 9,
  completed: 10,
  failed: 11,
  cancelled: 12,
} as const;

/** A task as a full frame shows it. */
export type TaskState = Readonly<Record<string, unknown>> & { readonly status: number };

/** One step of a task's life: a change of its fields, an increment of its text, or a sign of life. */
export type TaskStep = { readonly set: Readonly<Record<string, unknown>> } | { readonly delta: object } | 'heartbeat';

/** A task just created. */
export function newTask(answer: WireAnswer, app: string, input: unknown): TaskState {
  const at = new Date(answer.createdAt).toISOString();
  return {
    id: answer.id,
    short_id: answer.id.slice(-6),
    status: TASK_STATUS.received,
    status_text: 'received',
    app_id: app,
    input,
    output: null,
    logs: [],
    events: [],
    created_at: at,
    updated_at: at,
  };
}

/** Every step of a task that runs well. */
export function taskSteps(answer: WireAnswer): readonly TaskStep[] {
  const { thinking, pieces, usage, finish, logs } = answer;
  const log = logs.map((content, index) => ({
    id: `log_${String(index + 1)}`,
    task_id: answer.id,
    log_type: index === 0 ? 3 : 4,
    content,
  }));
  const status = (name: keyof typeof TASK_STATUS): TaskStep => ({ set: { status: TASK_STATUS[name] } });
  const total = pieces.length;
  const quarters = new Set([1, 2, 3, 4].map((quarter) => Math.ceil((total * quarter) / 4)));
  return [
    status('queued'),
    'heartbeat',
    status('dispatched'),
    status('preparing'),
    status('settingUp'),
    status('serving'),
    status('running'),
    // Logs grow: the field is replaced whole by each change.
    ...log.map((_, index) => ({ set: { logs: log.slice(0, index + 1) } })),
    ...thinking.map((reasoning) => ({ delta: { response: '', reasoning } })),
    ...pieces.flatMap((response, index) => [
      { delta: { response } },
      ...(quarters.has(index + 1) ? [{ set: { progress: { current: index + 1, total } } }] : []),
    ]),
    ...toolDeltas(answer).map((delta) => ({ delta: { response: '', ...delta } })),
    ...(usage === undefined
      ? []
      : [
          {
            delta: {
              response: '',
              usage: { stop_reason: finish, ...chatUsage(usage), reasoning_tokens: usage.reasoningTokens },
            },
          },
        ]),
    status('uploading'),
    { set: { status: TASK_STATUS.completed, output: taskOutput(answer) } },
  ];
}

/** The task after its first `count` steps. Text that arrived by increments stands in its output. */
export function taskAfter(task: TaskState, steps: readonly TaskStep[], count: number): TaskState {
  let state: TaskState = task;
  let response = '';
  for (const step of steps.slice(0, count)) {
    if (step === 'heartbeat') continue;
    if ('set' in step) state = { ...state, ...step.set };
    else response += 'response' in step.delta ? String(step.delta.response) : '';
  }
  return state['output'] === null && response !== '' ? { ...state, output: { response } } : state;
}

/**
 * The frames of one connection to a task: its state now, then what is left of its life.
 * @param done - steps that happened before this connection
 */
export function inferenceshTaskStream(
  task: TaskState,
  steps: readonly TaskStep[],
  framing: InferenceshFramingName,
  done = 0,
): WireStream {
  const write = inferenceshFraming[framing];
  let seq = steps.slice(0, done).filter((step) => step !== 'heartbeat' && 'delta' in step).length;
  const frames = [
    write({ data: taskAfter(task, steps, done) }),
    ...steps.slice(done).map((step) => {
      if (step === 'heartbeat') return inferenceshHeartbeat[framing];
      if ('set' in step) return write(partial(step.set));
      seq += 1;
      return write({ name: 'delta', data: { data: { delta: step.delta, seq } } });
    }),
  ];
  const provenFrame = frames.length - 1;
  return { frames: framing === 'sse' ? [...frames, TASK_DONE_FRAME] : frames, provenFrame };
}

/** The end of a task that failed. */
export function inferenceshTaskError({ message }: WireError, framing: InferenceshFramingName): readonly string[] {
  return [inferenceshFraming[framing](partial({ status: TASK_STATUS.failed, error: message }))];
}

/** The end of a task that was cancelled on request. */
export function inferenceshTaskCancelled(framing: InferenceshFramingName): readonly string[] {
  return [TASK_STATUS.cancelling, TASK_STATUS.cancelled].map((status) =>
    inferenceshFraming[framing](partial({ status })),
  );
}

function partial(set: Readonly<Record<string, unknown>>): InferenceshFrame {
  return { data: { data: set, fields: Object.keys(set) } };
}

function taskOutput(answer: WireAnswer): unknown {
  if (answer.output !== undefined) return answer.output;
  const { thinking } = answer;
  return { response: textOf(answer), ...(thinking.length > 0 && { reasoning: thinking.join('') }) };
}

const TASK_DONE_FRAME = sseFrame({}, { event: 'done' });
