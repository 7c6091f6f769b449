import type { InferenceshFramingName } from '../wire/inferenceshFraming.js';
import { compose, replyJSON, type Route, type StreamReply, type Visit } from './visit.js';
import { Work } from './work.js';

/** What every route of inference.sh has in common. */
export const API: Pick<Route, 'provider' | 'surface'> = { provider: 'inferencesh', surface: 'inferencesh' };

/** How tasks and turns fail where the script has no words for it. */
export const OUT_OF_MEMORY = { code: 'failed', message: 'out of memory' } as const;

/** Each framing's content type, and a frame of it that is broken. */
export const FORMATS: Readonly<Record<InferenceshFramingName, Pick<StreamReply, 'contentType' | 'garbage'>>> = {
  ndjson: { contentType: 'application/x-ndjson', garbage: '{"this is": not JSON\n' },
  sse: { contentType: 'text/event-stream', garbage: 'data: {"this is": not JSON\n\n' },
};

/** Answers with JSON in the envelope that all of them have. */
export async function replyData(visit: Visit, data: unknown): Promise<void> {
  await replyJSON(visit, { data, messages: [] });
}

/** Work whose stream is another request: a fault ordered for this very request has happened to it. */
export function newWork(visit: Visit, id: string): Work {
  const { script, isExact } = visit.taken ?? { script: {}, isExact: false };
  return new Work(compose(visit, id, script), isExact ? { ...script, fault: undefined } : script);
}

/** The framing that the client asked for; server-sent events where it asked for none. */
export function framingOf({ exchange }: Visit): InferenceshFramingName {
  return /ndjson|jsonl/.test(exchange.request.headers.accept ?? '') ? 'ndjson' : 'sse';
}
