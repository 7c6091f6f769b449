import type { FinishEvent, RestartEvent, UsageEvent, WarningEvent } from '../types.js';

/** What a receipt is made of, besides what flows know. */
export type News = FinishEvent | RestartEvent | UsageEvent | WarningEvent;

/** The member that each has in our vocabulary; other libraries have events of the same names. */
const MEMBERS: ReadonlyMap<unknown, string> = new Map([
  ['finish', 'reason'],
  ['restart', 'because'],
  ['usage', 'provenance'],
  ['warning', 'code'],
]);

/** An item as the stream event that a receipt listens to, where it is one of them. */
export function newsOf(item: unknown): News | undefined {
  if (typeof item !== 'object' || item === null || !('type' in item)) return undefined;
  const member = MEMBERS.get(item.type);
  if (member === undefined || typeof (item as Record<string, unknown>)[member] !== 'string') return undefined;
  return item as News; // by its type and the member that tells it from others'
}
