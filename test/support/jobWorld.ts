import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { type ProviderServer, type ScriptedAnswer, startProviderServer } from 'millrace/testing';

/** Chance that is the same each time (mulberry32): a run of the driver can be played again by its seed. */
export function chanceOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** A job for the command line, and what its file must hold in the end. */
export interface PlannedJob {
  readonly id: string;
  readonly provider: 'polargrid' | 'infernet' | 'inferencesh';
  readonly prompt: string;
  readonly answer: string;
}

/** Jobs with answers of their own, of one sentence to some pages: so many lines at most. */
export function planJobs(count: number, chance: () => number, lines = 25): PlannedJob[] {
  return Array.from({ length: count }, (_, index) => {
    const id = `job-${String(index).padStart(3, '0')}`;
    const told = Array.from(
      { length: 1 + Math.floor(chance() ** 2 * lines) },
      (_line, line) =>
        `${id} says, in line ${String(line)}, that the 水車 turns — ${String(Math.floor(chance() * 1e9))}.`,
    );
    const provider = (['polargrid', 'polargrid', 'infernet', 'inferencesh'] as const)[index % 4] ?? 'polargrid';
    return { id, provider, prompt: `Tell me about ${id}.`, answer: `${told.join('\n')}\n` };
  });
}

/** What was asked of the server, by the prompt. */
export interface Asked {
  readonly id: string;
  readonly at: number;
}

/** The prompt, where chats and tasks have it. */
interface AskedBody {
  readonly messages?: readonly { readonly content: string }[];
  readonly input?: { readonly text?: string };
}

/** Answers each job with its own answer, with faults as chance has them, and storms in which every request is refused: so many for each request. */
export async function startJobServer(
  jobs: readonly PlannedJob[],
  chance: () => number,
  isHard = true,
  storms = 0.03,
): Promise<{
  readonly server: ProviderServer;
  readonly asked: Asked[];
  readonly counts: Readonly<Record<'asked' | 'refused' | 'reset' | 'stalled' | 'slow', number>>;
}> {
  const byPrompt = new Map(jobs.map((job) => [job.prompt, job]));
  const asked: Asked[] = [];
  const counts = { asked: 0, refused: 0, reset: 0, stalled: 0, slow: 0 };
  let stormUntil = 0;
  const script = ({ body, at }: { readonly body: unknown; readonly at: number }): ScriptedAnswer | undefined => {
    const { messages, input } = (body ?? {}) as AskedBody;
    const job = byPrompt.get(messages?.at(-1)?.content ?? input?.text ?? '');
    if (job === undefined) return undefined;
    counts.asked += 1;
    asked.push({ id: job.id, at });
    const answer: ScriptedAnswer = { text: job.answer, pace: { perFrameMs: 1 } };
    if (!isHard) return { text: job.answer };
    if (at < stormUntil || chance() < storms) {
      if (at >= stormUntil) stormUntil = at + 200;
      counts.refused += 1;
      return { status: chance() < 0.5 ? 429 : 529, headers: { 'retry-after-ms': '40' } };
    }
    const what = chance();
    const frame = Math.floor(chance() * 30);
    if (what < 0.08) {
      counts.reset += 1;
      return { ...answer, fault: { kind: chance() < 0.5 ? 'reset' : 'end', at: { frame } } };
    }
    if (what < 0.11) {
      counts.stalled += 1;
      return { ...answer, fault: { kind: 'stall', at: { frame } } };
    }
    if (what < 0.2) {
      counts.slow += 1;
      return { ...answer, pace: { perFrameMs: 6 }, chunkBytes: 7 };
    }
    return answer;
  };
  const server = await startProviderServer({ script });
  onTestFinished(() => server.close());
  return { server, asked, counts };
}

/** Files in a folder that have their final names, and what they hold; the run's own are left out. */
export function finalFiles(folder: string): ReadonlyMap<string, string> {
  const own = /^\.millrace|\.partial|^report\.|^failed\.jsonl$/;
  let names: string[] = [];
  try {
    names = readdirSync(folder).filter((name) => !own.test(name) && statSync(join(folder, name)).isFile());
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  return new Map(names.map((name) => [name, readFileSync(join(folder, name), 'utf8')]));
}

/** The lines of a job file. */
export function jobLines(jobs: readonly PlannedJob[], { baseURLs }: ProviderServer): string {
  return jobs
    .map(({ id, provider, prompt }) => {
      const whom = provider === 'inferencesh' ? { app: 'millhouse/storyteller@3' } : { model: 'millwheel-1' };
      return `${JSON.stringify({ id, provider, ...whom, prompt, baseUrl: baseURLs[provider] })}\n`;
    })
    .join('');
}

/** Keys that the server takes. */
export const JOB_KEYS = { POLARGRID_API_KEY: 'any', INFERNET_API_KEY: 'any', INFERENCE_API_KEY: 'any' };
