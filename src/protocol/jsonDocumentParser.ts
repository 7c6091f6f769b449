import { LimitError } from '../errors.js';
import type { NDJSONLine } from '../types.js';

/** Collects a body that is one JSON document and gives it as one line. */
export interface JSONDocumentParser {
  push(chunk: Uint8Array): void;
  end(emit: (line: NDJSONLine) => void): void;
  stop(): void;
}

/** @param maxBytes - a larger document is a LimitError named `maxLineBytes`, since it is one line here */
export function createJSONDocumentParser(maxBytes: number): JSONDocumentParser {
  const decoder = new TextDecoder();
  let text = '';
  let bytes = 0;
  let isStopped = false;
  return {
    push: (chunk) => {
      bytes += chunk.length;
      if (bytes > maxBytes) {
        throw new LimitError(
          'maxLineBytes',
          maxBytes,
          `A JSON document is longer than maxLineBytes (${String(maxBytes)})`,
        );
      }
      text += decoder.decode(chunk, { stream: true });
    },
    end: (emit) => {
      text += decoder.decode();
      if (!isStopped && text.trim() !== '') emit({ type: 'line', data: text, number: 1, unterminated: true });
    },
    stop: () => {
      isStopped = true;
    },
  };
}
