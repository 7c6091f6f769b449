import { SinkError } from '../errors.js';

/** The head of a response of server-sent events: nothing on the way may keep, change or gather it. */
export const SSE_HEADERS: Readonly<Record<string, string>> = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no', // nginx
};

/** A comment; line ends in it become spaces. */
export function sseComment(comment: string): string {
  return `: ${comment.replace(/[\r\n]+/g, ' ')}\n\n`;
}

/** An event of one line: JSON has no line end in it. */
export function sseData(json: string): string {
  return `data: ${json}\n\n`;
}

/**
 * @param what - whose value it is
 * @throws SinkError where JSON has no form for the value: a bigint, or an object that holds itself
 */
export function jsonOf(value: object, what: string): string {
  try {
    return JSON.stringify(value);
  } catch (cause) {
    throw new SinkError(`A ${what} event holds a value that has no JSON form`, { cause });
  }
}
