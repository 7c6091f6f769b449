import { type EventEncoder, RestartNotTold } from './eventFormat.js';
import { firstOutput } from './firstOutput.js';

/**
 * The text of the first output and nothing else, as `toTokens` gives it.
 *
 * Text has no place for anything beside it: a failure, and a stop on purpose, are told by cutting the connection
 * (`failsByCutting`), which every reader hears as an error. A line that says so would be a part of the answer.
 */
export function textFormat(): EventEncoder {
  let isFirst = firstOutput();
  let hasSent = false;
  /** The first half of a surrogate pair, whose other half comes next: UTF-8 has no form for it alone. */
  let half = '';
  const say = (text: string): string => {
    const whole = half + text;
    half = isHalf(whole.charCodeAt(whole.length - 1)) ? whole.slice(-1) : '';
    const sent = half === '' ? whole : whole.slice(0, -1);
    hasSent ||= sent !== '';
    return sent;
  };
  return {
    headers: {
      'content-type': 'text/plain; charset=utf-8',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
      'x-content-type-options': 'nosniff', // a browser that guesses waits for more, and may take text for a page
    },
    failsByCutting: true,
    open: () => '',
    encode(event) {
      if (typeof event === 'string') return say(event);
      if (event.type === 'text') return event.alternative !== true && isFirst(event) ? say(event.text) : '';
      if (event.type === 'restart') {
        if (hasSent) throw new RestartNotTold();
        isFirst = firstOutput(); // the new answer may name its outputs otherwise
        half = '';
      }
      return '';
    },
    close: ({ outcome }) => (outcome === 'complete' ? half : ''),
    fail: () => '',
    heartbeat: () => '',
  };
}

function isHalf(code: number): boolean {
  return code >= 0xd800 && code <= 0xdbff;
}
