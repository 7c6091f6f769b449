import { from } from 'rxjs';
import { describe, expect, it, vi } from 'vitest';
import * as z from 'zod/mini';
import { decode } from '../../src/operators/decode.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import { dialect, type Dialect, type DialectOptions } from '../../src/protocol/dialect.js';
import { createSSEParser } from '../../src/protocol/sseParser.js';
import { chatDialect } from '../../src/providers/chatDialect.js';
import { bothWays, framesOf } from '../support/bothWays.js';
import { collectGarbage } from '../support/soakMemory.js';

const listed = (options: Partial<DialectOptions<unknown, undefined>>): Dialect =>
  dialect<unknown>({
    frame: z.unknown(),
    values: 'any',
    decode: (frame, stream) => {
      const [text] = Object.values(frame as Record<string, string>);
      if (text === undefined) return;
      stream.emit({ type: 'text', text, index: 0, name: 'output' });
      stream.template({ text: Array.isArray(frame) ? '0' : 'piece' }, (each) => {
        stream.emit({ type: 'text', text: each, index: 0, name: 'output' });
        return true;
      });
    },
    ...options,
  });
describe('a template', () => {
  it('tells what stands under an empty key, each time it changes', () => {
    const frame = (id: string): string => `{"":{"id":"${id}"},"choices":[{"delta":{"content":"hi"}}]}`;
    bothWays(chatDialect(), framesOf(['A', 'B', 'C', 'D'].map(frame)));
  });

  it('knows a marker that is like the frames before it', () => {
    bothWays(listed({ marker: '{"piece":"END"}' }), framesOf(['{"piece":"a"}', '{"piece":"b"}', '{"piece":"END"}']));
  });
  it('knows a filler that is like the frames before it', () => {
    bothWays(listed({ fillers: ['["ping"]'] }), framesOf(['["a"]', '["b"]', '["ping"]']));
  });

  it('keeps no chunk for the sake of its texts', async () => {
    const frame = (text: string): string => `data: {"choices":[{"delta":{"content":"${text}"}}]}\n\n`;
    const kept: string[] = [];
    await collectGarbage();
    const before = process.memoryUsage().heapUsed;
    for (let count = 0; count < 40; count += 1) {
      const decoder = chatDialect().decoder();
      const body = `${frame('a')}: ${'x'.repeat(500_000)}\n\n${frame('a text of more than twelve characters')}`;
      createSSEParser().push(Buffer.from(body), (event) => {
        decoder.push(event, (told) => {
          if (told.type === 'text') kept.push(told.text);
        });
      });
    }
    await collectGarbage();
    expect(kept).toHaveLength(80);
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(4_000_000); // 20 MB with templates, 0.1 MB without
  });

  it('makes no template of every frame where its use declines', () => {
    const parse = vi.spyOn(JSON, 'parse');
    const decoder = chatDialect({ inlineThinking: true }).decoder();
    for (const event of framesOf(Array.from({ length: 1000 }, () => '{"choices":[{"delta":{"content":"<b> "}}]}'))) {
      decoder.push(event, () => undefined);
    }
    const parsed = parse.mock.calls.length;
    parse.mockRestore();
    expect(parsed).toBeLessThan(1100); // 2000
  });

  it('looks at each byte of a chunk a few times at most', () => {
    const frame = (at: number): string =>
      `data: {"choices":[{"delta":{"content":"t"}}],"obfuscation":"${'x'.repeat(1 + (at % 7))}"}\n\n`;
    const bytes = new TextEncoder().encode(Array.from({ length: 2000 }, (_, at) => frame(at)).join(''));
    let looked = 0;
    const chunk = Object.assign(bytes.slice(), {
      indexOf(this: Uint8Array, byte: number, at = 0): number {
        const found = bytes.indexOf(byte, at);
        looked += (found === -1 ? bytes.length : found) - at;
        return found;
      },
    });
    from([bytes, chunk])
      .pipe(parseSSE(), decode(chatDialect()))
      .subscribe({ error: () => undefined });
    expect(looked).toBeLessThan(2 * bytes.length); // 1000 times as many
  });
});
