import {
  inferenceshTaskCancelled,
  inferenceshTaskError,
  inferenceshTaskStream,
  newTask,
  TASK_STATUS,
  taskAfter,
  type TaskState,
  taskSteps,
} from '../wire/inferenceshTask.js';
import type { Task } from './desk.js';
import { API, FORMATS, framingOf, newWork, OUT_OF_MEMORY, replyData } from './inferenceshReply.js';
import { replyError, replyStream, type Route, type Visit } from './visit.js';

/** inference.sh: tasks, created by one request and streamed, polled or cancelled by others. */
export const inferenceshTaskRoutes: readonly Route[] = [
  {
    ...API,
    method: 'POST',
    path: '/inferencesh/apps/run',
    begins: true,
    requires: ['app', 'input'],
    serve: async (visit) => {
      const { desk, body } = visit;
      const work = newWork(visit, desk.id('task_'));
      const { answer } = work;
      const task: Task = {
        work,
        created: newTask(answer, String(body['app']), body['input']),
        steps: taskSteps(answer),
      };
      desk.tasks.set(answer.id, task);
      if (body['wait'] === true) work.finish('completed');
      await replyData(visit, stateOf(task));
    },
  },
  { ...API, method: 'GET', path: '/inferencesh/tasks/{id}', serve: withTask((visit, task) => poll(visit, task)) },
  {
    ...API,
    method: 'GET',
    path: '/inferencesh/tasks/{id}/status',
    serve: withTask(async (visit, task) => {
      task.work.poll();
      const { id, status, status_text } = stateOf(task);
      await replyData(visit, { id, status, status_text });
    }),
  },
  {
    ...API,
    method: 'POST',
    path: '/inferencesh/tasks/{id}/cancel',
    serve: withTask(async (visit, task) => {
      task.work.finish('cancelled');
      await replyData(visit, stateOf(task));
    }),
  },
  { ...API, method: 'GET', path: '/inferencesh/tasks/{id}/stream', serve: withTask(streamTask) },
];

function withTask(serve: (visit: Visit, task: Task) => Promise<void>): Route['serve'] {
  return async (visit) => {
    const task = visit.desk.tasks.get(visit.params['id'] ?? '');
    if (task === undefined) await replyError(visit, 404, { message: 'task not found' });
    else await serve(visit, task);
  };
}

async function poll(visit: Visit, task: Task): Promise<void> {
  task.work.poll();
  await replyData(visit, stateOf(task));
}

/** The task as it is now. */
function stateOf({ work, created, steps }: Task): TaskState {
  const now = taskAfter(created, steps, work.position);
  switch (work.state) {
    case 'open':
      return now;
    case 'completed':
      return taskAfter(
        newTask(work.stored, String(created['app_id']), created['input']),
        taskSteps(work.stored),
        Infinity,
      );
    case 'failed':
      return { ...now, status: TASK_STATUS.failed, error: work.failure(OUT_OF_MEMORY).message };
    case 'cancelled':
      return { ...now, status: TASK_STATUS.cancelled };
  }
}

async function streamTask(visit: Visit, task: Task): Promise<void> {
  const { work, created, steps } = task;
  const framing = framingOf(visit);
  const script = visit.taken?.script ?? work.takeScript();
  const done = work.position;
  const { frames, provenFrame } =
    work.state === 'open'
      ? inferenceshTaskStream(created, steps, framing, done)
      : inferenceshTaskStream(stateOf(task), [], framing);
  await replyStream(visit, script, {
    ...FORMATS[framing],
    frames,
    error: (words) => inferenceshTaskError(words, framing),
    usualError: OUT_OF_MEMORY,
    ...(work.state === 'open' && {
      interrupt: { signal: work.cancelled, frames: inferenceshTaskCancelled(framing) },
      onSent: (count: number) => {
        if (script.frames !== undefined || script.recording !== undefined) return;
        if (count > provenFrame && script.fault?.kind !== 'in-band-error') work.finish('completed');
        else work.position = Math.min(steps.length - 1, Math.max(work.position, done + count - 1));
      },
    }),
  });
  if (script.fault?.kind === 'in-band-error') work.finish('failed');
}
