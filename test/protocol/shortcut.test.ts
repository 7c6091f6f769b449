import { describe, expect, it } from 'vitest';
import * as z from 'zod/mini';
import type { Decoder, Dialect } from '../../src/protocol/dialect.js';
import { dialect } from '../../src/protocol/dialect.js';
import { createNDJSONParser } from '../../src/protocol/ndjsonParser.js';
import { createSSEParser } from '../../src/protocol/sseParser.js';
import type { Shortcut } from '../../src/protocol/shortcut.js';
import type { StreamEvent, WireEvent } from '../../src/types.js';
import { bytesOf, cutAt } from '../support/chunks.js';
import { pick, type Random, randomOf, someText } from '../support/mutatedFrames.js';

/** Tells text with all that an event of the wire says besides, so that nothing of it can get lost. */
const api: Dialect = dialect<{ text?: string | undefined; n?: number | undefined; cost?: number | undefined }>({
  frame: z.looseObject({ text: z.optional(z.string()), n: z.optional(z.number()), cost: z.optional(z.number()) }),
  decode: ({ text, n, cost }, stream) => {
    if (!text) return;
    const tell = (said: string, values: readonly unknown[]): boolean => {
      const value = { text: said, values: [...values], event: stream.event, id: stream.id };
      stream.emit({ type: 'output', value, final: false });
      return true;
    };
    const read = [...(n === undefined ? [] : ['n']), ...(cost === undefined ? [] : ['cost'])];
    tell(
      text,
      [n, cost].filter((value) => value !== undefined),
    );
    stream.template({ text: 'text', read, skip: new Set(['pad']), fractions: cost !== undefined }, tell);
  },
});

interface Parser {
  push(chunk: Uint8Array, emit: (event: WireEvent) => void): void;
  end(emit: (event: WireEvent) => void): void;
}
type Framing = 'sse' | 'ndjson';

function parserOf(framing: Framing, limits: object, shortcut: Shortcut | undefined): Parser {
  return framing === 'sse'
    ? createSSEParser(limits, undefined, shortcut)
    : createNDJSONParser(limits, undefined, shortcut);
}

interface Reading {
  readonly told: readonly (StreamEvent | string)[];
  readonly decoder: Decoder;
  /** How many events, or lines, were known by sight. */
  readonly known: number;
}

function read(framing: Framing, chunks: readonly Uint8Array[], knows: boolean, limits: object = {}): Reading {
  const decoder = api.decoder();
  const told: (StreamEvent | string)[] = [];
  const parser = parserOf(framing, limits, knows ? decoder.shortcut : undefined);
  let known = 0;
  const emit = (event: WireEvent): void => {
    if (event === decoder.shortcut?.event || event === decoder.shortcut?.line) known += 1;
    if (event.type === 'line') told.push(`line ${String(event.number)}`);
    try {
      decoder.push(event, (each) => told.push(each));
    } catch (error) {
      told.push(String(error));
    }
  };
  try {
    for (const chunk of chunks) parser.push(chunk, emit);
    parser.end(emit);
  } catch (error) {
    told.push(String(error));
  }
  if ('lastEventId' in parser) told.push(`last id ${String(parser.lastEventId)}`);
  return { told, decoder, known };
}

const NUMBERS = ['0', '7', '-1', '1.5', '2e3', '-0', '1e999', '999999999999999', '9007199254740993'];

/** Frames of one stream: most are alike. */
function framesOf(random: Random): () => string {
  const styles = [pick(random, ['', '"n":', '"cost":']), pick(random, ['', '"n":', '"cost":'])];
  const pads = [pick(random, ['', ' ']), '  \t'];
  const skips = random(2) === 0;
  return () => {
    const style = random(8) === 0 ? styles[1] : styles[0];
    const number = style === '' ? '' : `${style ?? ''}${pick(random, NUMBERS)},`;
    const long = random(6) === 0 ? 'long '.repeat(random(60)) + someText(random).repeat(random(4)) : '';
    const text = JSON.stringify(long + someText(random));
    const skipped = skips ? `,"pad":"${'x'.repeat(random(40))}"` : '';
    return `{${number}"text":${text}${skipped}${pads[random(8) === 0 ? 1 : 0] ?? ''}}`;
  };
}

function sseOf(random: Random, count: number): string {
  const frame = framesOf(random);
  const end = pick(random, ['\n', '\n', '\r\n', '\r']);
  const data = pick(random, ['data: ', 'data:']);
  const ids = pick(random, ['none', 'none', 'id: ', 'id: ', 'id:']);
  const name = pick(random, ['', 'event: token', 'event:token', 'event: ', 'event']);
  const isIdFirst = random(2) === 0;
  let body = '';
  for (let at = 0; at < count; at += 1) {
    const odd = random(12) === 0;
    const value = odd ? pick(random, ['ä', '\\n', ' 5', 'a\0b', '']) : String(at);
    const id = ids === 'none' || random(20) === 0 ? '' : `${ids}${value}${end}`;
    const event = name === '' ? '' : `${name}${end}`;
    const others = [`: hi${end}`, `${data}${frame()}${end}`, `retry: 1${end}`, `id${end}`];
    const extra = random(20) === 0 ? pick(random, others) : '';
    const blank = random(25) === 0 ? '' : end;
    body += `${extra}${isIdFirst ? id + event : event + id}${data}${frame()}${end}${blank}`;
  }
  return body;
}

function ndjsonOf(random: Random, count: number): string {
  const frame = framesOf(random);
  const end = pick(random, ['\n', '\r\n']);
  const ends = [end, end, end, end, end, `${end}${end}`, ` ${end}`];
  return Array.from({ length: count }, () => frame() + pick(random, ends)).join('');
}

describe('a parser that is told what events look like', () => {
  it.each<[Framing, (random: Random, count: number) => string]>([
    ['sse', sseOf],
    ['ndjson', ndjsonOf],
  ])('tells the same of %s as one that is not, however the body is cut', (framing, bodyOf) => {
    let known = 0;
    for (let seed = 0; seed < 400; seed += 1) {
      const random = randomOf(seed);
      const bytes = bytesOf(bodyOf(random, 60));
      for (let flips = pick(random, [0, 0, 5]); flips > 0; flips -= 1) bytes[random(bytes.length)] = random(256);
      const cuts = Array.from({ length: pick(random, [1, 4, 60]) }, () => random(bytes.length + 1));
      const chunks = cutAt(
        bytes,
        cuts.sort((one, other) => one - other),
      );
      const limits = random(4) === 0 ? { maxLineBytes: 40 + random(80), maxEventBytes: 40 + random(120) } : {};
      const result = read(framing, chunks, true, limits);
      expect(result.told, `seed ${String(seed)}`).toStrictEqual(read(framing, chunks, false, limits).told);
      known += result.known;
    }
    expect(known).toBeGreaterThan(1_000);
  });

  it.each<[string, Framing, (text: string, at: number) => string]>([
    ['plain events', 'sse', (text) => `data: {"text":"${text}"}\n\n`],
    ['events with CRLF', 'sse', (text) => `data: {"text":"${text}"}\r\n\r\n`],
    ['events without a blank', 'sse', (text) => `data:{"text":"${text}"}\n\n`],
    ['named events', 'sse', (text) => `event: token\ndata: {"text":"${text}"}\n\n`],
    ['events with an id', 'sse', (text, at) => `id: ${String(at)}\nevent: token\ndata: {"text":"${text}"}\n\n`],
    ['lines', 'ndjson', (text) => `{"text":"${text}"}\n`],
    ['lines with CRLF', 'ndjson', (text) => `{"text":"${text}"}\r\n`],
  ])('knows %s by sight from the second chunk on', (_, framing, frame) => {
    const chunks = Array.from({ length: 5 }, (_, at) => bytesOf(frame('a', 2 * at) + frame('b', 2 * at + 1)));
    const { known, told } = read(framing, chunks, true);
    expect(known).toBe(8);
    expect(told).toStrictEqual(read(framing, chunks, false).told);
  });

  it.each<[string, string]>([
    ['named events', 'event: token\n'],
    ['events with an id', 'id: 7\nevent: token\n'],
    ['events', ''],
  ])('learns what %s look like when they change', (_, before) => {
    const frame = (pad: string): string => `${before}data: {"text":"t","pad":"${pad}"}\n\n`;
    // The first template knows one padding, the second any.
    const chunks = ['a', 'a', 'b', 'c', 'd', 'e'].map((pad) => bytesOf(frame(pad)));
    const { known, told } = read('sse', chunks, true);
    expect(known).toBe(4);
    expect(told).toStrictEqual(read('sse', chunks, false).told);
  });

  it('reads a text of any length, with an escape or a forbidden byte at any place', () => {
    for (const mark of ['\\n', '\\"', '\\\\', '\\u00e9', 'é', '\t', '\\q', '\\']) {
      for (let at = 0; at <= 70; at += 1) {
        const texts = ['a', 'b', `${'x'.repeat(at)}${mark}${'y'.repeat(70 - at)}`, 'c'];
        const chunks = texts.map((text) => bytesOf(`data: {"text":"${text}"}\n\n`));
        expect(read('sse', chunks, true).told).toStrictEqual(read('sse', chunks, false).told);
      }
    }
  });

  it('gives what it knows by sight as an event that is read as any other', () => {
    const decoder = api.decoder();
    const seen: unknown[] = [];
    const body = [0, 1, 2, 3].map((at) => `id: ${String(at)}\nevent: token\ndata: {"text":"t${String(at)}"} \n\n`);
    const parser = createSSEParser({}, undefined, decoder.shortcut);
    for (const chunk of body) {
      parser.push(bytesOf(chunk), (event) => {
        if (event.type === 'event') seen.push('copy' in event ? (event as { copy(): unknown }).copy() : event);
        decoder.push(event, () => undefined);
      });
    }
    expect(seen).toStrictEqual(
      [0, 1, 2, 3].map((at) => ({ type: 'event', event: 'token', data: `{"text":"t${String(at)}"} `, id: String(at) })),
    );
  });
});
