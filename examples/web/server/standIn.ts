import { type ProviderServer, type ScriptedAnswer, startProviderServer } from 'millrace/testing';
import { CHAT_ANSWERS, VOICES } from './answers.js';
import { surveyFrames } from './surveyFrames.js';

/**
 * Stands in for the providers, so that the example needs no key and no network. With keys of your own leave this file out, and give
 * the adapters in `backend.ts` those in place of `baseURL`.
 *
 * @param paceMs - milliseconds between two frames of an answer
 */
export function startStandIn(paceMs: number): Promise<ProviderServer> {
  return startProviderServer({
    script: (request) => {
      const body = (request.body ?? {}) as Body; // from calls.ts
      const [, who, trouble] = /(\w+)@(\w+)$/.exec(body.app ?? body.model ?? body.model_name ?? '') ?? [];
      if (who === 'miller') return chat(typeof body.input === 'object' ? body.input.text : '', trouble, paceMs);
      if (who === 'surveyor') return survey(trouble, paceMs * 9);
      if (who === 'overshot' || who === 'breastshot' || who === 'undershot') return voice(who, trouble, paceMs);
      return undefined;
    },
  });
}

/** A request, as far as it is looked at. Who is asked for, and what shall go wrong, stand in the model's name: `millhouse/miller@cut`. */
interface Body {
  readonly app?: string;
  readonly model?: string;
  readonly model_name?: string;
  /** The gateway's is a text. */
  readonly input?: { readonly text?: string } | string;
}

function chat(question = '', trouble: string | undefined, paceMs: number): ScriptedAnswer {
  const answer = CHAT_ANSWERS.find(({ about }) => about.test(question));
  return {
    text: answer?.text,
    thinking: answer?.thinking,
    pace: { perFrameMs: paceMs, firstFrameMs: paceMs * 10 },
    // The connection is reset in mid-answer; the task goes on without its reader, and is found again by its id.
    ...(trouble === 'cut' && { fault: { kind: 'reset', at: { frame: 240 } } }),
    ...(trouble === 'fail' && {
      fault: { kind: 'in-band-error', at: { frame: 160 } },
      error: { message: 'the node ran out of memory' },
    }),
  };
}

function survey(trouble: string | undefined, paceMs: number): ScriptedAnswer {
  return {
    frames: surveyFrames(),
    pace: { perFrameMs: paceMs },
    ...(trouble === 'fail' && {
      fault: { kind: 'in-band-error', at: { frame: 19 } },
      error: { message: 'the surveyor fell into the race' },
    }),
  };
}

/** How slowly each voice speaks, against the chat. */
const TEMPO = { overshot: 1.2, breastshot: 1.6, undershot: 1.4 } as const;

function voice(who: keyof typeof VOICES, trouble: string | undefined, paceMs: number): ScriptedAnswer {
  return {
    text: VOICES[who],
    pace: { perFrameMs: paceMs * TEMPO[who], firstFrameMs: paceMs * TEMPO[who] * 8 },
    ...(trouble === 'fail' && {
      fault: { kind: 'in-band-error', at: { frame: 75 } },
      error: { code: 'overloaded_error', message: 'Overloaded' },
    }),
  };
}
