/** Single-line fields before the data of a server-sent event. */
export interface SSEFields {
  readonly id?: string | number;
  readonly event?: string;
}

/** One server-sent event with JSON data, ended by its blank line. Fields come first, as the servers we imitate send them. */
export function sseFrame(data: unknown, { id, event }: SSEFields = {}): string {
  const head = (id === undefined ? '' : `id: ${String(id)}\n`) + (event === undefined ? '' : `event: ${event}\n`);
  return `${head}data: ${JSON.stringify(data)}\n\n`;
}

/** The end marker of the chat family. */
export const DONE_FRAME = 'data: [DONE]\n\n';
