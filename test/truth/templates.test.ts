import { from, type Observable } from 'rxjs';
import { afterAll, describe, expect, it } from 'vitest';
import { decode } from '../../src/operators/decode.js';
import { parseNDJSON } from '../../src/operators/parseNDJSON.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import type { Dialect } from '../../src/protocol/dialect.js';
import { chatDialect } from '../../src/providers/index.js';
import type { ProviderBaseURLs } from '../../src/testing/index.js';
import type { WireEvent } from '../../src/types.js';
import { bothWays, expectSame, type Step } from '../support/bothWays.js';
import { bytesOf, cutAt } from '../support/chunks.js';
import { wireEvents } from '../support/decodeEvents.js';
import { mutate, randomOf } from '../support/mutatedFrames.js';
import { bodyOf, dialects } from '../support/recordings.js';
import { type Recording, recordings } from '../support/shared.js';
import { variants } from '../support/variants.js';

const all = recordings();
const urls = new Proxy({} as ProviderBaseURLs, { get: () => 'http://127.0.0.1:1/v1' });

function dialectOf({ format }: Recording): Dialect {
  const dialect = dialects[format];
  if (dialect === undefined) throw new Error(`No dialect for ${format}`);
  return dialect;
}

function withoutTemplates(dialect: Dialect): Dialect {
  return { ...dialect, decoder: () => dialect.decoder({ templates: false }) };
}

type Framing = 'sse' | 'ndjson';

/** What a reader has of a body: events, and how it ended. */
function read(dialect: Dialect, framing: Framing, chunks: readonly Uint8Array[]): readonly unknown[] {
  const seen: unknown[] = [];
  const bytes = from(chunks);
  const wire: Observable<WireEvent> = framing === 'sse' ? bytes.pipe(parseSSE()) : bytes.pipe(parseNDJSON());
  wire.pipe(decode(dialect, { onMalformed: 'skip' })).subscribe({
    next: (event) => seen.push(event),
    error: (error: unknown) => seen.push(error),
    complete: () => seen.push('complete'),
  });
  return seen;
}

/** Both ways, in one piece, in pieces of some sizes, and an event at a time. */
function expectSameReading(dialect: Dialect, framing: Framing, body: Uint8Array): void {
  const full = read(withoutTemplates(dialect), framing, [body]);
  const sizes = [body.length, 16_384, 1009, 61];
  for (const size of sizes) {
    const cuts = Array.from({ length: Math.ceil(body.length / size) - 1 }, (_, index) => (index + 1) * size);
    expectSame(read(dialect, framing, cutAt(body, cuts)), full, () => `in pieces of ${String(size)} bytes`);
  }
  const borders = [
    ...Buffer.from(body)
      .toString('latin1')
      .matchAll(/\r?\n\r?\n/g),
  ].map(({ 0: end, index }) => index + end.length);
  expectSame(read(dialect, framing, cutAt(body, borders)), full, () => 'an event at a time');
}

/** The wire with some of its frames changed, told twice as by a server that begins anew, and read over two connections. */
function mutated(wire: readonly WireEvent[], seed: number): readonly Step[] {
  const random = randomOf(seed);
  const change = random(2 ** 31);
  const from = random(wire.length);
  const changed = wire.map((event, count): Step => {
    if (event.type !== 'event' && event.type !== 'line') return event;
    let { data } = event;
    if (count >= from && count < from + 6) data = mutate(data, change, count);
    if (random(12) === 0) data = mutate(data, random(2 ** 31), count);
    return { ...event, data };
  });
  const at = random(wire.length);
  if (random(2) === 0) return [...changed, 'cut'];
  return [...changed.slice(0, at), 'release', 'reattached', ...changed.slice(random(at + 1)), 'end'];
}

const table: string[] = [];
afterAll(() => {
  console.log(['frames, and those that a template decoded:', ...table.sort()].join('\n'));
});

function note(name: string, { frames, templated }: { readonly frames: number; readonly templated: number }): void {
  const share = `${((100 * templated) / Math.max(1, frames)).toFixed(1)} %`;
  table.push(
    `  ${name.padEnd(50)} ${String(frames).padStart(5)} ${String(templated).padStart(5)} ${share.padStart(8)}`,
  );
}

describe.skipIf(all.length === 0)('a recorded stream tells the same, with templates and without', () => {
  it.each(all)('$file', (recording) => {
    const dialect = dialectOf(recording);
    const body = bodyOf(recording);
    const wire = wireEvents('sse', body);
    note(recording.file, bothWays(dialect, [...wire, 'end']));
    expectSameReading(dialect, 'sse', body);
  });

  it.each(all)('$file, with some of its frames changed', (recording) => {
    const dialect = dialectOf(recording);
    const wire = wireEvents('sse', bodyOf(recording)).slice(0, 300);
    for (let seed = 0; seed < 6; seed += 1) bothWays(dialect, mutated(wire, seed + recording.frames));
  });

  it('of the chat family takes its templates for most of its frames', () => {
    let frames = 0;
    let templated = 0;
    for (const recording of recordings('chat', 'completion')) {
      const told = bothWays(chatDialect(), wireEvents('sse', bodyOf(recording)));
      frames += told.frames;
      templated += told.templated;
    }
    expect(templated / frames).toBeGreaterThan(0.5);
  });
});

describe('a stream of every provider tells the same, with templates and without', () => {
  it.each(variants)('$name', ({ name, framing, stream, ask }) => {
    const { dialect } = ask(urls);
    const body = bytesOf(stream.frames.join(''));
    const wire = wireEvents(framing, body);
    note(name, bothWays(dialect, [...wire, 'end']));
    expectSameReading(dialect, framing, body);
  });

  it.each(variants)('$name, with some of its frames changed', ({ framing, stream, ask }) => {
    const { dialect } = ask(urls);
    // Four times over: so that more than two frames are alike.
    const once = wireEvents(framing, bytesOf(stream.frames.slice(0, -1).join('')));
    const wire = [...once, ...once, ...once, ...once];
    for (let seed = 0; seed < 60; seed += 1) bothWays(dialect, mutated(wire, seed));
  });
});
