import { describe, expect, it } from 'vitest';
import { inferenceshFixtures } from '../fixtures/inferencesh.js';
import { infernetFixtures } from '../fixtures/infernet.js';
import { decodeEvents, textOf, wireEvents } from '../support/decodeEvents.js';

describe.each([...infernetFixtures, ...inferenceshFixtures])('$name', ({ dialect, framing, body, provenAt, text }) => {
  const bytes = new TextEncoder().encode(body);
  const frameEnd = framing === 'sse' ? '\n\n' : '\n';
  const cuts = [...body.matchAll(new RegExp(frameEnd, 'g'))].map(
    ({ index }) => new TextEncoder().encode(body.slice(0, index + frameEnd.length)).length,
  );

  it('yields the whole text and one finish, last', () => {
    const { events, outcome } = decodeEvents(dialect, wireEvents(framing, body));
    expect(outcome).toBe('complete');
    expect(textOf(events)).toBe(text);
    expect(events.filter(({ type }) => type === 'finish')).toHaveLength(1);
    expect(events.at(-1)?.type).toBe('finish');
    expect(events.filter(({ type }) => type === 'restart')).toEqual([]);
  });

  it.each([0, ...cuts])('cut after byte %i is complete only from the proof on', (cut) => {
    for (const intact of [true, false]) {
      const { events, outcome } = decodeEvents(dialect, wireEvents(framing, bytes.subarray(0, cut)), { intact });
      expect(outcome).toBe(cut < provenAt ? 'interrupted' : 'complete');
      expect(text.startsWith(textOf(events))).toBe(true);
    }
  });

  it('becomes complete at exactly the byte of its proof', () => {
    expect(decodeEvents(dialect, wireEvents(framing, bytes.subarray(0, provenAt - 1))).outcome).not.toBe('complete');
    expect(decodeEvents(dialect, wireEvents(framing, bytes.subarray(0, provenAt))).outcome).toBe('complete');
  });

  it('ignores what comes after the end', () => {
    const more = `${body}${framing === 'sse' ? 'data: {"text":"more"}\n\n' : '{"event":"delta","data":{}}\n'}`;
    expect(decodeEvents(dialect, wireEvents(framing, more))).toEqual(decodeEvents(dialect, wireEvents(framing, body)));
  });

  it('decodes twice alike: no state is shared between streams', () => {
    expect(decodeEvents(dialect, wireEvents(framing, body))).toEqual(decodeEvents(dialect, wireEvents(framing, body)));
  });
});
