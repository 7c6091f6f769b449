import { sseFrame } from './sseFrame.js';

/** A frame before its framing is chosen: `name` is the NDJSON key `event`, or the name of the server-sent event. */
export interface InferenceshFrame {
  readonly name?: string | undefined;
  readonly data: Readonly<Record<string, unknown>>;
}

/** Both framings that inference.sh offers, chosen by the client's `accept`. */
export const inferenceshFraming: Readonly<Record<'ndjson' | 'sse', (frame: InferenceshFrame) => string>> = {
  ndjson: ({ name, data }) => `${JSON.stringify(name === undefined ? data : { event: name, ...data })}\n`,
  // A frame without a name is an update of the task, which is what the documentation calls it.
  sse: ({ name, data }) => sseFrame(name === 'delta' ? data['data'] : data, { event: name ?? 'update' }),
};

/** A framing's name. */
export type InferenceshFramingName = keyof typeof inferenceshFraming;

/** The sign of life of each framing. */
export const inferenceshHeartbeat: Readonly<Record<InferenceshFramingName, string>> = {
  ndjson: '{"type":"heartbeat"}\n',
  sse: ': heartbeat\n\n',
};
