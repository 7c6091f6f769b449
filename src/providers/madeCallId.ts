/** No server is ever told an id that begins so. */
const MADE = 'millrace-call-';

/** The ids of one stream's calls. */
export interface CallIds {
  /** How many were made. */
  made: number;
  /** What tells this answer from others, so that their calls differ too; empty where nothing does. */
  answerId: string;
}

/** The server's id for a call, or one that is made where it sends none. */
export function callId(id: string | null | undefined, ids: CallIds): string {
  if (id !== undefined && id !== null && id !== '') return id;
  ids.made += 1;
  return `${MADE}${String(ids.made)}${ids.answerId === '' ? '' : `-${ids.answerId}`}`;
}

/** Whether an id was made here: then the server knows none, and is told none. */
export function isMadeCallId(id: string): boolean {
  return id.startsWith(MADE);
}
