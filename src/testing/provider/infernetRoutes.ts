import type { ScriptedAnswer } from '../scriptedAnswer.js';
import { chatCompletion } from '../wire/chatCompletion.js';
import { infernetJob, infernetJobError, type InfernetJobState, infernetJobStream } from '../wire/infernetJobs.js';
import {
  infernetNativeAccepted,
  infernetNativeError,
  infernetNativeStatus,
  infernetNativeStream,
} from '../wire/infernetNative.js';
import { infernetShimError, infernetShimStream } from '../wire/infernetShim.js';
import type { WireStream } from '../wire/wireAnswer.js';
import { compose, replyError, replyJSON, replyStream, type Route, type StreamReply, type Visit } from './visit.js';
import { Work, type WorkState } from './work.js';

const LOST = { code: 'node_disconnected', message: 'Node went offline mid-stream' };
const BROKEN = { code: 'engine_error', message: 'engine error' };

const JOB_STATES: Readonly<Record<WorkState, InfernetJobState>> = {
  open: 'processing',
  completed: 'completed',
  failed: 'failed',
  cancelled: 'failed', // No job is ever cancelled: the API has no way to ask for it.
};

/** Infernet's three surfaces: documented jobs, its server's own chat, and the chat endpoint that looks like OpenAI's. */
export const infernetRoutes: readonly Route[] = [
  {
    provider: 'infernet',
    surface: 'infernetJobs',
    method: 'POST',
    path: '/infernet/api/v1/jobs',
    begins: true,
    requires: ['model', 'messages'],
    serve: async (visit) => {
      const { desk, body } = visit;
      const work = newWork(visit, desk.id('job_'));
      desk.jobs.set(work.answer.id, work);
      if (body['stream'] === true) await streamJob(visit, work, work.takeScript());
      else await replyJSON(visit, infernetJob(work.answer, 'pending'));
    },
  },
  {
    provider: 'infernet',
    surface: 'infernetJobs',
    method: 'GET',
    path: '/infernet/api/v1/jobs/{id}',
    serve: withJob(async (visit, work) => {
      await replyJSON(visit, infernetJob(work.stored, JOB_STATES[work.poll()], work.failure(LOST)));
    }),
  },
  {
    provider: 'infernet',
    surface: 'infernetJobs',
    method: 'GET',
    path: '/infernet/api/v1/jobs/{id}/stream',
    serve: withJob((visit, work) => streamJob(visit, work, visit.taken?.script ?? work.takeScript())),
  },
  {
    provider: 'infernet',
    surface: 'infernetJobs',
    method: 'GET',
    path: '/infernet/api/v1/models',
    isOpen: true,
    serve: (visit) => replyJSON(visit, { models: [{ id: 'millwheel-1', nodes: 3, avg_tokens_per_second: 48 }] }),
  },
  {
    provider: 'infernet',
    surface: 'infernetNative',
    method: 'POST',
    path: '/infernet/api/chat',
    begins: true,
    isOpen: true,
    requires: ['messages'],
    serve: async (visit) => {
      const work = newWork(visit, `00000000-0000-4000-8000-${visit.desk.id('').padStart(12, '0')}`);
      visit.desk.jobs.set(work.answer.id, work);
      await replyJSON(visit, infernetNativeAccepted(work.answer));
    },
  },
  {
    provider: 'infernet',
    surface: 'infernetNative',
    method: 'GET',
    path: '/infernet/api/chat/stream/{id}',
    isOpen: true,
    serve: async (visit) => {
      const work = visit.desk.jobs.get(visit.params['id'] ?? '');
      if (work === undefined) {
        const message = 'job not found';
        await replyStream(visit, {}, { ...NATIVE, frames: infernetNativeError({ code: 404, message }) });
        return;
      }
      // Every connection replays the stored events, a stored failure included.
      const script = visit.taken?.script ?? work.takeScript({ keepsFailures: true });
      const reply = workReply(work, infernetNativeStream(work.answer), script);
      await replyStream(visit, script, { ...NATIVE, ...reply });
      if (script.fault?.kind === 'in-band-error') work.finish('failed');
    },
  },
  {
    provider: 'infernet',
    surface: 'infernetNative',
    method: 'GET',
    path: '/infernet/api/chat/{id}/status',
    isOpen: true,
    serve: withJob(async (visit, work) => {
      const state = work.poll();
      const error = state === 'failed' ? work.failure(BROKEN) : undefined;
      await replyJSON(visit, infernetNativeStatus(work.answer, state === 'open' ? 'running' : state, error));
    }),
  },
  {
    provider: 'infernet',
    surface: 'infernetShim',
    method: 'POST',
    path: '/infernet/v1/chat/completions',
    begins: true,
    isOpen: true,
    requires: ['messages'],
    serve: async (visit) => {
      const script = visit.taken?.script ?? {};
      const answer = compose(visit, visit.desk.id('chatcmpl-'), script);
      if (visit.body['stream'] !== true) {
        await replyJSON(
          visit,
          chatCompletion({ ...answer, usage: { inputTokens: 0, outputTokens: 0, reasoningTokens: 0 } }),
        );
        return;
      }
      await replyStream(visit, script, {
        contentType: 'text/event-stream',
        frames: infernetShimStream(answer).frames,
        error: (words) => infernetShimError(words, answer.id),
        usualError: BROKEN,
      });
    },
  },
];

const NATIVE: Pick<StreamReply, 'contentType' | 'error' | 'usualError'> = {
  contentType: 'text/event-stream',
  error: infernetNativeError,
  usualError: BROKEN,
};

/** The script of new work; a fault ordered for the request that creates it has happened to that request. */
function newWork(visit: Visit, id: string): Work {
  const { script, isExact } = visit.taken ?? { script: {}, isExact: false };
  const isStreamed = visit.body['stream'] === true;
  return new Work(compose(visit, id, script), isExact && !isStreamed ? { ...script, fault: undefined } : script);
}

function withJob(serve: (visit: Visit, work: Work) => Promise<void>): Route['serve'] {
  return async (visit) => {
    const work = visit.desk.jobs.get(visit.params['id'] ?? '');
    if (work === undefined) await replyError(visit, 404, { message: 'job not found' });
    else await serve(visit, work);
  };
}

async function streamJob(visit: Visit, work: Work, script: ScriptedAnswer): Promise<void> {
  await replyStream(visit, script, {
    contentType: 'text/event-stream',
    error: infernetJobError,
    usualError: LOST,
    ...workReply(work, infernetJobStream(work.answer), script),
  });
}

/** The frames of a job, which is over when the frame that proves it is out. */
function workReply(
  work: Work,
  { frames, provenFrame }: WireStream,
  script: ScriptedAnswer,
): Pick<StreamReply, 'frames' | 'onSent'> {
  return {
    frames,
    onSent: (count) => {
      if (count > provenFrame && script.fault?.kind !== 'in-band-error') work.finish('completed');
    },
  };
}
