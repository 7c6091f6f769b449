import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { Proof } from '../../src/protocol/dialect.js';
import { createSSEParser } from '../../src/protocol/sseParser.js';
import { chatDialect } from '../../src/providers/chatDialect.js';
import type { StreamEvent, WireEvent } from '../../src/types.js';
import { decodeAll, type Decoded } from '../support/decodeAll.js';
import { recorded, recordings } from '../support/shared.js';

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const EMPTY = sha256('');
/** Longer recordings are cut at random only: every byte of them would take minutes. */
const MAX_BYTES = 60_000;

function facts({ text, thinking, toolArguments, outcome }: Decoded): object {
  return { text: sha256(text), thinking: sha256(thinking), toolArguments: sha256(toolArguments), outcome };
}

const lines = (events: readonly StreamEvent[]): string => events.map((event) => JSON.stringify(event)).join('\n');

/** The offsets at which events end: behind each empty line. */
function borders(bytes: Uint8Array): readonly number[] {
  const text = Buffer.from(bytes).toString('latin1');
  return [...text.matchAll(/\r?\n\r?\n/g)].map(({ index, 0: { length } }) => index + length);
}

const chats = recordings('chat', 'completion');

it('finds the recordings of the chat family, or skips them where the folder is not there', () => {
  expect(chats.length === 0 || chats.length >= 23).toBe(true);
});

describe.each(chats)('$file', (recording) => {
  const bytes = recorded(recording);
  const whole = decodeAll(chatDialect(), bytes);

  it('gives the recorded text, reasoning, tool arguments and outcome', () => {
    expect(facts(whole)).toStrictEqual({
      text: recording.text_sha256,
      thinking: recording.reasoning_sha256 ?? EMPTY,
      toolArguments: recording.tool_args_sha256 ?? EMPTY,
      outcome: recording.outcome,
    });
  });

  it('gives the same events however its bytes are cut', () => {
    let seed = 7;
    for (const most of [3, 70, 1500]) {
      const cuts: number[] = [];
      for (let at = 0; at < bytes.length;) {
        seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
        at += 1 + (seed % most);
        if (at < bytes.length) cuts.push(at);
      }
      expect(lines(decodeAll(chatDialect(), bytes, { cuts }).events)).toBe(lines(whole.events));
    }
  });

  it.runIf(bytes.length < MAX_BYTES)('gives the same events byte by byte', () => {
    const cuts = Array.from({ length: bytes.length - 1 }, (_, at) => at + 1);
    expect(lines(decodeAll(chatDialect(), bytes, { cuts }).events)).toBe(lines(whole.events));
  });

  it('accounts for every frame: it emits something or proves something', () => {
    const decoder = chatDialect().decoder();
    let proof: Proof = 'open';
    let frames = 0;
    const push = (event: WireEvent): void => {
      if (event.type === 'retry') return;
      frames += 1;
      const before = proof;
      let emitted = 0;
      try {
        proof = decoder.push(event, () => (emitted += 1));
      } catch {
        proof = 'done'; // a failure is told as such, and what follows it is not read
      }
      const isEndAgain = event.type === 'event' && /"finish_reason": ?"/.test(event.data);
      const isAccounted = emitted > 0 || proof !== before || before === 'done' || isEndAgain;
      expect([isAccounted, JSON.stringify(event)]).toStrictEqual([true, JSON.stringify(event)]);
    };
    createSSEParser().push(bytes, push);
    expect(frames).toBeGreaterThan(0);
  });

  it('is never complete before its proof, wherever it is cut', () => {
    const text = bytes.toString('latin1');
    // With several answers the end of the last of them; without any reason the marker.
    const reasons = [...text.matchAll(/"finish_reason": ?"[a-z_]+"/g)].map(({ index }) => index);
    const answers = new Set([...text.matchAll(/"choices": ?\[\{"index": ?(\d)/g)].map(([, index]) => index)).size;
    const proof = reasons[Math.max(0, answers - 1)] ?? text.indexOf('[DONE]');
    const step = Math.max(1, Math.floor(bytes.length / 100));
    const random = Array.from({ length: 100 }, (_, at) => at * step + ((at * 7) % step));
    // Of long recordings not every border: each is decoded from its beginning.
    const every = Math.max(1, Math.floor(borders(bytes).length / 150));
    const cuts = [...borders(bytes).filter((_, at) => at % every === 0), ...random].filter((cut) => cut <= proof);
    for (const cut of cuts) {
      const { outcome } = decodeAll(chatDialect(), bytes.subarray(0, cut), { intact: true });
      expect([cut, outcome]).not.toStrictEqual([cut, 'complete']);
    }
  });
});

it('repeats none of the 3 kB of search results that Perplexity sends on every frame', () => {
  for (const recording of chats.filter(({ file }) => file.startsWith('perplexity/sonar-citations'))) {
    const { events } = decodeAll(chatDialect(), recorded(recording));
    expect(events.filter(({ type }) => type === 'raw').length).toBeLessThan(4);
  }
});

it('loses no piece of the reasoning details that OpenRouter sends', () => {
  for (const recording of chats.filter(({ file }) => file === 'openrouter/tool-call-comments.sse')) {
    const sent = recorded(recording)
      .toString()
      .match(/"reasoning_details":\[\{/g);
    const raw = decodeAll(chatDialect(), recorded(recording)).events.filter(
      (event) => event.type === 'raw' && JSON.stringify(event.frame).includes('"reasoning_details":[{'),
    );
    expect(raw).toHaveLength(sent?.length ?? 0);
  }
});
