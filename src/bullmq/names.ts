/** What BullMQ puts before the keys of a queue. In braces, so that a cluster keeps a queue's keys together. */
export function prefixOf(queue: string): string {
  return `{millrace:${queue}}`;
}

/** Where what is known of a job is kept. */
export function recordKey(queue: string, id: string): string {
  return `${prefixOf(queue)}:record:${id}`;
}

/** The stream in which BullMQ tells what happens to jobs. */
export function eventsKey(queue: string): string {
  return `${prefixOf(queue)}:${queue}:events`;
}

/** The hash that BullMQ keeps a job in. */
export function jobKey(queue: string, id: string): string {
  return `${prefixOf(queue)}:${queue}:${id}`;
}

/** Where BullMQ keeps the token of whoever has a job. */
export function lockKey(queue: string, id: string): string {
  return `${jobKey(queue, id)}:lock`;
}

/** A job's name in the queue, where it may be but of some characters: the same for the same key, on every machine. */
export async function idOf(key: string): Promise<string> {
  const bytes = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(key)));
  return `k${[...bytes.subarray(0, 16)].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}

/** @throws TypeError for what is no name of a queue */
export function requireQueue(queue: unknown): void {
  if (typeof queue !== 'string' || !/^[^\p{Cc}:{}]{1,128}$/u.test(queue)) {
    throw new TypeError(
      `queue must be a text of 1 to 128 characters without colons, braces and control characters, got ${JSON.stringify(queue)}`,
    );
  }
}
