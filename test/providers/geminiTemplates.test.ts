import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { geminiDialect } from '../../src/providers/geminiDialect.js';
import { checkTemplates } from '../../src/testing/index.js';
import { bothWays, framesOf, type Step } from '../support/bothWays.js';
import { decodeAll } from '../support/decodeAll.js';
import { type Frames, mutatedStream, pick, type Random, randomOf } from '../support/mutatedFrames.js';
import { bodyOf } from '../support/recordings.js';
import { recordings } from '../support/shared.js';

const json = JSON.stringify;

interface Answer {
  readonly part?: object;
  readonly candidate?: object;
  readonly usage?: unknown;
  readonly rest?: object;
}

/** A frame as Google's servers write it. */
function answer(text: string, { part, candidate, usage, rest }: Answer = {}): object {
  return {
    candidates: [{ content: { parts: [{ text, ...part }], role: 'model' }, index: 0, ...candidate }],
    ...(usage !== undefined && { usageMetadata: usage }),
    modelVersion: 'gemini-3-pro',
    responseId: 'w1peaMz6INOvnvgP',
    ...rest,
  };
}

function usageAt(count: number, more: object = {}): object {
  return {
    promptTokenCount: 9,
    candidatesTokenCount: count,
    totalTokenCount: count + 9,
    promptTokensDetails: [{ modality: 'TEXT', tokenCount: 9 }],
    ...more,
  };
}

/** Frames that bring something else, after which others may mean something else. */
function between(random: Random, text: string, count: number): object {
  const call = {
    functionCall: { name: 'look', args: { q: text } },
    ...(random(2) === 0 && { thoughtSignature: 'c2ln' }),
  };
  const piece = {
    name: random(2) === 0 ? 'look' : '',
    partialArgs: [{ jsonPath: '$.q', stringValue: text, willContinue: true }],
  };
  const candidate = (more: object): object => ({ candidates: [{ index: random(2), ...more }] });
  return pick<object>(random, [
    candidate({ finishReason: pick(random, ['STOP', 'MAX_TOKENS', 'MALFORMED_FUNCTION_CALL', '']) }),
    candidate({ content: { parts: [call] } }),
    candidate({ content: { parts: [{ functionCall: { ...piece, willContinue: random(2) === 0 } }] } }),
    candidate({ content: { parts: [{ inlineData: { mimeType: 'image/png', data: text } }] } }),
    candidate({ content: { parts: [{ text, thoughtSignature: text }] } }),
    candidate({ safetyRatings: [{ probability: String(random(2)) }] }),
    { promptFeedback: { blockReason: pick(random, ['SAFETY', 'OTHER', null]) } },
    { usageMetadata: usageAt(count, { trafficType: String(random(2)) }) },
    { usageMetadata: { candidatesTokenCount: count, promptTokenCount: 1.5 } },
    { responseId: `other${String(count)}` },
    { note: String(random(2)) },
    {},
  ]);
}

type Piece = (random: Random, text: string, count: number) => object;

/** A server whose frames are like this, and everything else in between. */
const server =
  (piece: Piece, often = 5): Frames =>
  (random, text, count) =>
    json(random(often) === 0 ? between(random, text, count) : piece(random, text, count));

const servers: Readonly<Record<string, Frames>> = {
  'counts that grow': server((random, text, count) =>
    answer(text, {
      usage: usageAt(count, { thoughtsTokenCount: Math.floor(count / 9), cachedContentTokenCount: random(2) }),
    }),
  ),
  'text alone': server((_, text) => answer(text), 1_000),
  thinking: server((random, text, count) =>
    answer(text, { part: { thought: pick(random, [true, true, false, null]) }, usage: usageAt(count) }),
  ),
  'counts of every kind': server((random, text, count) =>
    answer(text, {
      usage: usageAt(pick<never>(random, [count, 0, -1, 1.5, 2 ** 53, String(count), null] as never[]), {
        toolUsePromptTokenCount: pick<unknown>(random, [count, undefined]),
      }),
    }),
  ),
  'usage of every kind': server((random, text, count) =>
    answer(text, {
      usage: pick<unknown>(random, [usageAt(count), { trafficType: 'ON_DEMAND' }, null, 7, [], undefined]),
    }),
  ),
  'details of usage that change': server((random, text, count) =>
    answer(text, { usage: usageAt(count, { candidatesTokensDetails: [{ tokenCount: Math.floor(count / 4) }] }) }),
  ),
  'STOP on every frame': server((random, text) =>
    answer(text, { candidate: { finishReason: random(9) === 0 ? 'MAX_TOKENS' : 'STOP' } }),
  ),
  'a finish now and then': server((random, text, count) =>
    answer(text, {
      candidate: random(6) === 0 ? { finishReason: pick(random, ['STOP', 'SAFETY', 'MALFORMED_RESPONSE']) } : {},
      usage: usageAt(count),
    }),
  ),
  'safety ratings that change': server((random, text) =>
    answer(text, { candidate: { safetyRatings: [{ probability: random(6) === 0 ? 'LOW' : 'NEGLIGIBLE' }] } }),
  ),
  'log probabilities': server((random, text) =>
    answer(text, { candidate: random(3) === 0 ? { logprobsResult: { chosen: ['a'] } } : {} }),
  ),
  'members of the answer that change': server((random, text, count) =>
    answer(text, {
      rest: {
        responseId: pick<unknown>(random, ['a', 'b', `c${String(count)}`, 'no id!', '', null]),
        createTime: `2026-11-21T00:00:${String(count)}Z`,
        modelVersion: pick(random, ['m', 'n']),
        note: random(6) === 0 ? 'other' : 'one',
      },
    }),
  ),
  'two candidates': server((random, text, count) =>
    answer(text, { candidate: { index: pick<unknown>(random, [0, 1, 1, null]) }, usage: usageAt(count) }),
  ),
  'two candidates or parts in a frame': server((random, text) => {
    const parts = random(2) === 0 ? [{ text }] : [{ text }, { text, thought: true }];
    const candidates = [{ content: { parts } }, { content: { parts: [{ text }] } }, null];
    return { candidates: candidates.slice(0, 1 + random(3)) };
  }),
  'parts with more': server((random, text) =>
    answer(text, {
      part: pick<object>(random, [
        {},
        {},
        { thoughtSignature: '' },
        { thoughtSignature: 'c2ln' },
        { functionCall: null, inlineData: null },
        { functionCall: {} },
        { inlineData: {} },
      ]),
    }),
  ),
  'a prompt that is refused': server((random, text) =>
    answer(text, {
      rest: { promptFeedback: { blockReason: pick(random, ['SAFETY', 'SAFETY', 'SAFETY', 'OTHER', null]) } },
    }),
  ),
};

/** The lines of an error between the frames, of which some may be missing. */
const BARE = ['{', '  "note": {', '    "code": 1,', '  }', '}', '[{"error": {"message": "m"}}]'];

function stepsOf(chosen: readonly Frames[], seed: number): readonly Step[] {
  const random = randomOf(seed + 1);
  const bare = (): Step => {
    const [field = '', ...value] = pick(random, BARE).split(':');
    return { type: 'unknown', field, value: value.join(':') };
  };
  return [
    ...mutatedStream(chosen, seed, 60).flatMap((event): readonly Step[] => {
      const chance = random(60);
      if (chance === 0) return ['reattached', event];
      return chance < 3 ? [bare(), event] : [event];
    }),
    pick(random, ['end', 'cut', 'release']),
  ];
}

describe('templates of Gemini frames', () => {
  it.each(Object.entries(servers))('do what the full path does, of a server of %s', (_, chosen) => {
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        bothWays(geminiDialect({ candidates: 1 + (seed % 2) }), stepsOf([chosen], seed));
      }),
      { numRuns: 50 },
    );
  });

  it('do so where servers are mixed', () => {
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        bothWays(geminiDialect({ maxToolCallChars: 200 }), stepsOf(Object.values(servers), seed));
      }),
      { numRuns: 100 },
    );
  });

  it.each<[string, (count: number) => Answer, number]>([
    ['text', () => ({}), 19],
    ['thinking', () => ({ part: { thought: true } }), 19],
    ['text with counts that grow', (count) => ({ usage: usageAt(count, { thoughtsTokenCount: 7 }) }), 18],
    ['text with STOP on every frame', () => ({ candidate: { finishReason: 'STOP', safetyRatings: [{ a: 'b' }] } }), 18],
    ['another candidate', () => ({ candidate: { index: 1 } }), 19],
    ['text with another id in each frame', (count) => ({ rest: { responseId: `r${String(count)}` } }), 18],
    ['text with another time in each frame', (count) => ({ rest: { createTime: `t${String(count)}` } }), 18],
  ])('are taken by plain streams of %s', (_, more, templated) => {
    const frames = Array.from({ length: 20 }, (__, count) => json(answer(`piece ${String(count)}`, more(count))));
    expect(bothWays(geminiDialect(), framesOf(frames)).templated).toBe(templated);
  });

  it('tell counts that differ, and none that do not', () => {
    const frames = [1, 2, 2, 3, 3, 3].map((count) => json(answer('a', { usage: usageAt(count) })));
    const decoded = decodeAll(checkTemplates(geminiDialect()), frames.map((data) => `data: ${data}\n\n`).join(''));
    const usage = decoded.events.filter((event) => event.type === 'usage');
    expect(usage.map(({ outputTokens, totalTokens }) => [outputTokens, totalTokens])).toStrictEqual([
      [1, 10],
      [2, 11],
      [3, 12],
    ]);
  });

  it('are left where another word of the end came in between', () => {
    const ended = (finishReason: string, index = 0): string =>
      json(answer('a', { candidate: { finishReason, index } }));
    const [one, other] = [ended('STOP'), ended('MAX_TOKENS')];
    const steps = [...framesOf([one, one, other, one, one, ended('STOP', 1)]), 'end' as const];
    expect(bothWays(geminiDialect({ candidates: 2 }), steps).templated).toBe(2);
  });

  it('are left where what stands beside the text was told otherwise in between', () => {
    const rated = (probability: string): string =>
      json(answer('a', { candidate: { safetyRatings: [{ probability }] } }));
    const [one, other] = [rated('LOW'), rated('HIGH')];
    const { templated } = bothWays(geminiDialect(), framesOf([one, one, one, other, one, one, one]));
    expect(templated).toBe(2);
  });

  describe.each(recordings('gemini'))('of $file', (recording) => {
    const body = bodyOf(recording);

    it('change nothing, however its bytes are cut', () => {
      const full = decodeAll(geminiDialect(), body);
      expect(decodeAll(checkTemplates(geminiDialect()), body)).toStrictEqual(full);
      fc.assert(
        fc.property(fc.uniqueArray(fc.nat(body.length), { maxLength: 40 }), (offsets) => {
          const cuts = offsets.toSorted((one, other) => one - other);
          expect(decodeAll(checkTemplates(geminiDialect()), body, { cuts }).events).toStrictEqual(full.events);
        }),
        { numRuns: 5 },
      );
    });
  });
});
