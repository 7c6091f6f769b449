import type { StreamEvent } from '../types.js';

/** Characters of text in a piece of an answer that is kept; a task's output replaces the one before, and adds nothing. */
export function charsOf(event: StreamEvent): number {
  switch (event.type) {
    case 'text':
    case 'thinking':
    case 'refusal':
      return event.text.length;
    case 'tool-call':
      return event.argumentsText.length;
    case 'log':
      return event.message.length;
    case 'media':
      return typeof event.content === 'string' ? event.content.length : 0;
    case 'tool-result':
      return typeof event.result === 'string' ? event.result.length : 0;
    default:
      return 0;
  }
}
