import { readFileSync } from 'node:fs';
import { format, resolveConfig } from 'prettier';
import { describe, expect, it } from 'vitest';
import * as core from '../../src/index.js';
import * as providers from '../../src/providers/index.js';
import * as anthropic from '../../src/testing/wire/anthropic.js';
import * as gateway from '../../src/testing/wire/gateway.js';
import * as gemini from '../../src/testing/wire/gemini.js';
import * as inferenceshChat from '../../src/testing/wire/inferenceshChat.js';
import * as inferenceshTask from '../../src/testing/wire/inferenceshTask.js';
import * as infernetJobs from '../../src/testing/wire/infernetJobs.js';
import * as infernetNative from '../../src/testing/wire/infernetNative.js';
import * as infron from '../../src/testing/wire/infron.js';
import * as ollama from '../../src/testing/wire/ollama.js';
import * as openai from '../../src/testing/wire/openai.js';
import * as polargrid from '../../src/testing/wire/polargrid.js';
import * as responses from '../../src/testing/wire/responses.js';
import {
  bench,
  type BenchFixture,
  type BenchResults,
  chunksFrom,
  eventsourceParser,
  hasPeers,
} from '../support/bench.js';

const { DIALECTS, dialectFixture } = await bench('dialects.mjs');
const { FILES } = await bench('documents.mjs');
const { bytesOf, chatFixture, chunksOf } = await bench('fixtures.mjs');
const { isNDJSON, picks } = await bench('picks.mjs');
const readers = await bench('readers.mjs');
const { RECORDINGS, recordingFixture, repeated } = await bench('recordings.mjs');

const wire = {
  ...anthropic,
  ...gateway,
  ...gemini,
  ...inferenceshChat,
  ...inferenceshTask,
  ...infernetJobs,
  ...infernetNative,
  ...infron,
  ...ollama,
  ...openai,
  ...polargrid,
  ...responses,
};
/** More than two rounds through the rare tokens. */
const TOKENS = 300;

async function fixtureOf(name: string, count = TOKENS): Promise<BenchFixture> {
  return name === 'invented' ? chatFixture(count) : dialectFixture(name, count, wire);
}

/** The JSON of a frame; nothing where it has none. */
function dataOf(frame: string, ndjson: boolean): string | undefined {
  const data = ndjson ? frame : /^data: ?(.*)$/m.exec(frame)?.[1];
  return data === '[DONE]' ? undefined : data;
}

function countOf(texts: readonly string[]) {
  return { tokens: texts.length, chars: texts.join('').length };
}

describe('a fixture', () => {
  it('has about 290 bytes a frame where it says so', () => {
    const { frames } = chatFixture(1000);
    const bytes = bytesOf(frames) / frames.length;
    expect(bytes).toBeGreaterThan(280);
    expect(bytes).toBeLessThan(300);
  });

  it.each(['invented', ...DIALECTS])('has only valid JSON and as many tokens as it says: %s', async (name) => {
    const { format, frames, tokens, chars } = await fixtureOf(name);
    const ndjson = isNDJSON(format);
    const parsed = frames.flatMap((frame) => dataOf(frame, ndjson) ?? []).map((data) => JSON.parse(data) as unknown);
    const texts = parsed.map((frame) => picks[format]?.(frame) ?? '').filter((text) => text !== '');
    expect(tokens).toBe(TOKENS);
    expect(countOf(texts)).toEqual({ tokens, chars });
  });

  it('is the same bytes each time', () => {
    expect(chatFixture(50)).toEqual(chatFixture(50));
  });

  it.each([{ framesPerChunk: 1 }, { framesPerChunk: 50 }, { bytesPerChunk: 16_384 }])('is cut as asked: %o', (cut) => {
    const { frames } = chatFixture(TOKENS);
    const chunks = chunksOf(frames, cut);
    expect(Buffer.concat(chunks).toString()).toBe(frames.join(''));
    const whole = chunks.slice(0, -1);
    if ('bytesPerChunk' in cut) expect(whole.every(({ length }) => length === cut.bytesPerChunk)).toBe(true);
    else expect(chunks).toHaveLength(Math.ceil(frames.length / cut.framesPerChunk));
  });
});

describe('each way from bytes to text', () => {
  const names = Object.keys(readers).filter((name) => name !== 'fastShare') as (keyof typeof readers)[];

  async function read(reader: keyof typeof readers, { format, frames }: BenchFixture) {
    const texts: string[] = [];
    const chunks = chunksOf(frames, { bytesPerChunk: 1000 });
    const library = { core, providers, ...(hasPeers && (await eventsourceParser())) };
    const run = readers[reader](library, { format, chunks, onText: (text) => texts.push(text) });
    run();
    const once = countOf(texts);
    run();
    expect(texts).toHaveLength(once.tokens * 2);
    return once;
  }

  for (const name of names) {
    it.skipIf(name === 'eventsourceParser' && !hasPeers)(`counts what the fixtures have: ${name}`, async () => {
      for (const fixture of ['invented', ...DIALECTS]) {
        const wanted = await fixtureOf(fixture);
        if (name === 'eventsourceParser' && isNDJSON(wanted.format)) continue;
        const { tokens, chars } = wanted;
        expect({ fixture, ...(await read(name, wanted)) }).toEqual({ fixture, tokens, chars });
      }
    });

    it.skipIf(RECORDINGS.length === 0 || (name === 'eventsourceParser' && !hasPeers))(
      `counts what repeated recordings have: ${name}`,
      async () => {
        for (const { file } of RECORDINGS) {
          const wanted = recordingFixture(file, TOKENS);
          const { tokens, chars } = wanted;
          expect(tokens).toBeGreaterThanOrEqual(TOKENS);
          expect({ file, ...(await read(name, wanted)) }).toEqual({ file, tokens, chars });
        }
      },
    );
  }
});

describe('a recording that is repeated', () => {
  const event = (data: object): string => `event: e\ndata: ${JSON.stringify(data)}\n\n`;
  const delta = (text: string, sequence_number: number): string =>
    event({ type: 'response.output_text.delta', sequence_number, delta: text });
  const body = [
    event({ type: 'response.created', sequence_number: 0 }),
    delta('a', 1),
    delta('"b', 2),
    event({ type: 'response.output_text.done', sequence_number: 3, text: 'a"b' }),
  ].join('');

  it('repeats its content, tells the whole of it at its end, and counts on', () => {
    const { frames, tokens, chars } = repeated(body, 'responses', 3);
    expect({ tokens, chars }).toEqual({ tokens: 4, chars: 6 });
    expect(frames).toEqual([
      event({ type: 'response.created', sequence_number: 0 }),
      delta('a', 1),
      delta('"b', 2),
      delta('a', 3),
      delta('"b', 4),
      event({ type: 'response.output_text.done', sequence_number: 5, text: 'a"ba"b' }),
    ]);
  });

  it('says the end of an answer once', () => {
    const chunk = (content: string | undefined, finish_reason: string | null): string =>
      event({ choices: [{ index: 0, delta: { content }, finish_reason }] });
    const { frames } = repeated([chunk('a', null), chunk('b', 'stop'), 'data: [DONE]\n\n'].join(''), 'chat', 2);
    expect(frames).toEqual([chunk('a', null), chunk('a', null), chunk('b', 'stop'), 'data: [DONE]\n\n']);
  });
});

describe('a server', () => {
  it('writes each chunk as a chunk of HTTP', async () => {
    const { createFullServer } = await bench('fullServer.mjs');
    const { frames } = chatFixture(TOKENS);
    for (const framesPerChunk of [1, 50]) {
      const chunks = await chunksFrom(createFullServer(), `/chat/${String(TOKENS)}/${String(framesPerChunk)}`);
      expect(chunks.map(String)).toEqual(chunksOf(frames, { framesPerChunk }).map(String));
    }
  });

  it('stamps each token with the time at which it sends it', async () => {
    const { createPacedServer } = await bench('pacedServer.mjs');
    const { STAMP_AT, STAMP_CHARS, STAMPED_BYTES, pacedBytes } = await bench('paced.mjs');
    const chunks = await chunksFrom(createPacedServer(), '/run/1/3/1000');
    expect(Buffer.concat(chunks)).toHaveLength(pacedBytes(3));
    const stamped = chunks.filter(({ length }) => length === STAMPED_BYTES);
    const stamps = stamped.map((chunk) => Number(chunk.toString('latin1', STAMP_AT, STAMP_AT + STAMP_CHARS)));
    expect(stamps).toHaveLength(3);
    expect(stamps).toEqual([...stamps].sort((a, b) => a - b));
    expect(JSON.parse(dataOf(String(stamped[0]), false) ?? '')).toMatchObject({
      choices: [{ delta: { content: expect.stringMatching(/^\d+$/) } }],
    });
  });
});

describe('a round', () => {
  const limits = { cpuMillis: 0, wallMillis: 0 };

  it('runs at least once', async () => {
    const { round } = await bench('round.mjs');
    const pipeline = { expected: { tokens: 2 }, amounts: {}, run: () => ({ counted: { tokens: 2 } }) };
    expect(await round(pipeline, limits)).toMatchObject({ runs: 1 });
  });

  it('fails where a pipeline counted something else', async () => {
    const { round } = await bench('round.mjs');
    const pipeline = { expected: { tokens: 2 }, amounts: {}, run: () => ({ counted: { tokens: 1 } }) };
    await expect(round(pipeline, limits)).rejects.toThrow('counted {"tokens":1}, must be {"tokens":2}');
  });
});

describe('statistics', () => {
  it('have the middle value, and the middle distance from it', async () => {
    const { median, spread } = await bench('statistics.mjs');
    expect(median([5, 1, 3])).toBe(3);
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(spread([90, 100, 110, 100, 1000])).toBeCloseTo(0.1);
  });
});

describe('docs/benchmarks', () => {
  const results = JSON.parse(readFileSync(FILES.results, 'utf8')) as BenchResults;

  it('has every number of the results, and no other', async () => {
    const { markdownOf } = await bench('markdown.mjs');
    const options = await resolveConfig(FILES.page);
    const page = await format(markdownOf(results), { ...options, parser: 'markdown' });
    expect(readFileSync(FILES.page, 'utf8')).toBe(page);
  });

  it('draws every client with its number', async () => {
    const { panelsOf } = await bench('picture.mjs');
    const picture = readFileSync(FILES.picture, 'utf8');
    const panels = panelsOf(results);
    expect(panels).toHaveLength(3);
    for (const { title, bars } of panels) {
      expect(picture).toContain(title);
      expect(bars).toHaveLength(5);
      for (const { name, label } of bars) {
        expect(picture).toContain(`>${name}<`);
        expect(picture).toContain(`>${label}<`);
      }
    }
  });

  it.skipIf(!hasPeers)('is drawn from the results', async () => {
    const { pictureOf } = await bench('picture.mjs');
    expect(await pictureOf(results)).toBe(readFileSync(FILES.picture, 'utf8'));
  });

  it('has medians of the rounds that it has', async () => {
    const { median } = await bench('statistics.mjs');
    for (const { lines } of results.tables) for (const line of lines) expect(line.median).toBe(median(line.rounds));
  });
});
