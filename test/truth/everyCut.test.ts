import { concat, EMPTY, type Observable, of, throwError } from 'rxjs';
import { afterAll, describe, expect, it } from 'vitest';
import { InterruptedError } from '../../src/errors.js';
import { decode } from '../../src/operators/decode.js';
import { parseNDJSON } from '../../src/operators/parseNDJSON.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import type { StreamEvent, WireEvent } from '../../src/types.js';
import { bytesOf } from '../support/chunks.js';
import { type Variant, variants } from '../support/variants.js';

const urls = new Proxy({} as Parameters<Variant['ask']>[0], { get: () => 'http://127.0.0.1:1/v1' });

/** How a body that is cut after so many bytes ends, and what was seen of it. */
function read(variant: Variant, bytes: Uint8Array, cut: 'end' | 'reset'): { end: unknown; events: StreamEvent[] } {
  const end = cut === 'end' ? EMPTY : throwError(() => new InterruptedError('reset'));
  const chunks = concat(of(bytes), end);
  const events: StreamEvent[] = [];
  let result: unknown = 'nothing';
  const wire: Observable<WireEvent> = variant.framing === 'sse' ? chunks.pipe(parseSSE()) : chunks.pipe(parseNDJSON());
  wire.pipe(decode(variant.ask(urls).dialect)).subscribe({
    next: (event) => events.push(event),
    error: (error: unknown) => (result = error),
    complete: () => (result = 'complete'),
  });
  return { end: result, events };
}

function textOf(events: readonly StreamEvent[]): string {
  let text = '';
  for (const event of events) {
    if (event.type === 'text') text += event.text;
    else if (event.type === 'restart') text = '';
  }
  return text;
}

describe('a good stream that is cut at any byte', () => {
  let cuts = 0;

  afterAll(() => {
    console.log(`every cut, in memory: ${String(cuts)} cuts in all`);
  });

  it.each(variants)('is interrupted before its proven end and complete from there on: $name', (variant) => {
    const { frames, provenFrame } = variant.stream;
    const body = bytesOf(frames.join(''));
    expect(body.length).toBeLessThanOrEqual(8192);
    const proven = bytesOf(frames.slice(0, provenFrame + 1).join('')).length;
    for (const cut of ['end', 'reset'] as const) {
      // A line of JSON is whole before its line end, if the body says that it ends there. A CR ends a line by itself.
      const isEarly = variant.framing === 'ndjson' ? cut === 'end' : frames[provenFrame]?.endsWith('\r\n') === true;
      const provenAt = isEarly ? proven - 1 : proven;
      for (let offset = 0; offset <= body.length; offset += 1) {
        cuts += 1;
        const { end, events } = read(variant, body.subarray(0, offset), cut);
        const text = textOf(events);
        const where = `${cut} after ${String(offset)} of ${String(body.length)} bytes`;
        if (offset < provenAt) {
          expect(end, where).toBeInstanceOf(InterruptedError);
          expect((end as InterruptedError).received, where).toStrictEqual({
            text,
            chars: text.length,
            truncated: false,
          });
          expect(variant.text.startsWith(text), where).toBe(true);
        } else {
          expect(end, where).toBe('complete');
          expect(text, where).toBe(variant.text);
          expect(events.at(-1)?.type, where).toBe('finish');
        }
      }
    }
    console.log(`every cut, in memory: ${variant.name}: ${String(2 * (body.length + 1))} cuts, none told wrongly`);
  });
});
