import * as z from 'zod/mini';
import { type ErrorReport, isRecord, readErrorBody } from '../protocol/errorBody.js';
import { readFailure } from '../protocol/dialect.js';
import type { WarningEvent } from '../types.js';

export type JSONObject = Readonly<Record<string, unknown>>;

/** Any JSON object, handed on as it is: its parts are validated where they are read. */
export const AnyFrame: z.ZodMiniType<JSONObject> = z.custom<JSONObject>(isRecord);

/** A frame without its framing. */
export interface OpenedFrame {
  /** The `event` key of an NDJSON line, else the name of the server-sent event. */
  readonly event: string;
  readonly payload: JSONObject;
  /** What changed, where the frame lists it. */
  readonly fields: readonly string[] | undefined;
}

/**
 * Takes a frame out of its framing: `{event, data, fields}` on NDJSON lines, `{data, fields}` in both framings, or the bare
 * object under an event's name.
 */
export function openFrame(frame: JSONObject, sseEvent: string): OpenedFrame {
  const { event, ...bare } = frame;
  const { data, fields } = bare;
  const isEnvelope = isRecord(data) && !('id' in bare);
  return {
    event: typeof event === 'string' ? event : sseEvent,
    payload: isEnvelope ? data : typeof event === 'string' ? bare : frame,
    fields: Array.isArray(fields) ? fields.filter((field) => typeof field === 'string') : undefined,
  };
}

/**
 * A failure of the stream itself: an event named `error` in either framing, or an `error` on something that is no task,
 * chat or message. Those have an `error` of their own, which is read with their state.
 */
export function streamFailure(frame: JSONObject, sseEvent: string): ErrorReport | undefined {
  const { event, data } = frame;
  if ((typeof event === 'string' ? event : sseEvent) === 'error') {
    const report = readErrorBody(data ?? frame);
    return report.message === undefined && report.code === undefined ? readErrorBody(frame) : report;
  }
  const isResource = ('id' in frame || 'status' in frame) && frame['success'] !== false;
  return isResource ? undefined : readFailure(frame, sseEvent);
}

/** A response body without its envelope: `{data, messages}`, the first version's `{success, status, data}`, or none. */
export function unwrap(answer: unknown): unknown {
  return isRecord(answer) && isRecord(answer['data']) ? answer['data'] : answer;
}

/** What a response's envelope says beside its data. */
export function envelopeWarning(answer: unknown): WarningEvent | undefined {
  const messages = isRecord(answer) && isRecord(answer['data']) ? answer['messages'] : undefined;
  if (!Array.isArray(messages) || messages.length === 0) return undefined;
  const said = messages.map((item: unknown) => readErrorBody(item).message ?? 'a message without text').join('; ');
  return { type: 'warning', code: 'provider-warning', message: said, detail: messages };
}

/** What a resource's own `error` says: a sentence, a code, an object; its `error_message` where that has one. */
export function resourceFailure(resource: JSONObject, state: string): ErrorReport {
  const { error, error_message, message } = resource;
  const report = readErrorBody({ error, error_message, message: typeof message === 'string' ? message : undefined });
  return { ...report, code: report.code ?? state, message: report.message ?? 'the provider gave no reason' };
}
