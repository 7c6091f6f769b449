import * as fc from 'fast-check';
import { from, type Observable } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { decode } from '../../src/operators/decode.js';
import { parseNDJSON } from '../../src/operators/parseNDJSON.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import type { ProviderBaseURLs } from '../../src/testing/index.js';
import { gatewayStream } from '../../src/testing/wire/gateway.js';
import { infernetJobStream } from '../../src/testing/wire/infernetJobs.js';
import { infronStream } from '../../src/testing/wire/infron.js';
import { polargridChatStream } from '../../src/testing/wire/polargrid.js';
import type { WireAnswer } from '../../src/testing/wire/wireAnswer.js';
import type { StreamEvent, WireEvent } from '../../src/types.js';
import { bytesOf, cutAt } from '../support/chunks.js';
import { type Variant, variants } from '../support/variants.js';

const urls = new Proxy({} as ProviderBaseURLs, { get: () => 'http://127.0.0.1:1/v1' });

function decoded({ framing, ask }: Variant, chunks: readonly Uint8Array[]): (StreamEvent | 'complete')[] {
  const seen: (StreamEvent | 'complete')[] = [];
  const bytes = from(chunks);
  const wire: Observable<WireEvent> = framing === 'sse' ? bytes.pipe(parseSSE()) : bytes.pipe(parseNDJSON());
  wire
    .pipe(decode(ask(urls).dialect))
    .subscribe({ next: (event) => seen.push(event), complete: () => seen.push('complete') });
  return seen;
}

describe('the events of a stream are the same however the network cuts it', () => {
  it.each(variants)('$name', (variant) => {
    const body = bytesOf(variant.stream.frames.join(''));
    const whole = decoded(variant, [body]);
    expect(whole.at(-1)).toBe('complete');
    fc.assert(
      fc.property(fc.array(fc.nat(body.length), { maxLength: 60 }), (offsets) => {
        expect(
          decoded(
            variant,
            cutAt(
              body,
              offsets.sort((a, b) => a - b),
            ),
          ),
        ).toStrictEqual(whole);
      }),
    );
    expect(decoded(variant, cutAt(body, [...body.keys()]))).toStrictEqual(whole);
  });
});

describe('any text arrives as it was sent, in any pieces and chunks', () => {
  const text = fc.array(fc.string({ unit: 'binary', minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 8 });
  const streams = {
    'Infernet jobs': infernetJobStream,
    Infron: infronStream,
    Gateway: gatewayStream,
    'PolarGrid chat': polargridChatStream,
  };
  it.each(Object.entries(streams))('%s', (name, stream) => {
    const variant = variants.find((one) => one.name === name);
    if (variant === undefined) throw new Error(`no variant is named ${name}`);
    fc.assert(
      fc.property(text, fc.array(fc.nat(4000), { maxLength: 20 }), (pieces, offsets) => {
        const joined = pieces.join('');
        // PolarGrid's thinking is marked by tags inside the text: a text that begins with one is thinking.
        fc.pre(!joined.includes('<'));
        const answer: WireAnswer = { ...plain, pieces };
        const body = bytesOf(stream(answer).frames.join(''));
        const cuts = offsets.filter((offset) => offset <= body.length).sort((a, b) => a - b);
        const events = decoded(variant, cutAt(body, cuts));
        const texts = events.map((event) => (event !== 'complete' && event.type === 'text' ? event.text : ''));
        expect(texts.join('')).toBe(joined);
      }),
    );
  });
});

const plain: WireAnswer = {
  id: 'a1',
  model: 'm',
  createdAt: 0,
  thinking: [],
  pieces: [],
  finish: 'stop',
  logs: [],
};
