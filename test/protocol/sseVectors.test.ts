import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { createSSEParser } from '../../src/protocol/sseParser.js';
import type { ServerSentMessage } from '../../src/types.js';
import { chunksOf, cutAt } from '../support/chunks.js';

interface Text {
  readonly length: number;
  readonly sha256: string;
}

interface Expected {
  readonly events?: readonly {
    readonly event: string;
    readonly id: string;
    readonly data?: string;
    readonly data_length?: number;
    readonly data_sha256?: string;
  }[];
  readonly event_count?: number;
  readonly all_data_sha256?: string;
  readonly retry: readonly number[];
  readonly comments: readonly (string | Text)[];
  readonly lastEventId: string;
  readonly unfinished: boolean;
}

interface Vector {
  readonly name: string;
  readonly input_b64?: string;
  readonly input_parts?: readonly { readonly b64: string; readonly times: number }[];
  readonly splits?: readonly (readonly number[])[];
  readonly eager?: readonly { readonly after_bytes: number; readonly events: number }[];
  readonly expected: Expected;
}

/** Above this many bytes a vector is cut at some offsets instead of all. */
const SMALL_BYTES = 4096;
const MAX_RETRY_MS = 2_147_483_647;

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..');
const file = path.resolve(root, '..', 'shared', 'sse-vectors.json');

if (existsSync(file)) {
  const { vectors } = JSON.parse(readFileSync(file, 'utf8')) as { vectors: readonly Vector[] };
  describe('the shared vectors', () => {
    it('are all there', () => {
      expect(vectors).toHaveLength(90);
    });

    it.each(vectors)('$name', (vector) => {
      const bytes = inputOf(vector);
      expectResult([bytes], vector.expected);
      for (const splits of vector.splits ?? []) expectResult(cutAt(bytes, splits), vector.expected);
      if (bytes.length <= SMALL_BYTES) {
        expectResult(chunksOf(bytes, 1), vector.expected);
        for (let offset = 0; offset <= bytes.length; offset++) expectResult(cutAt(bytes, [offset]), vector.expected);
      } else {
        for (const size of [7, 1000, 16_384]) expectResult(chunksOf(bytes, size), vector.expected);
        for (const offset of [1, 2, 5, 6, 7, bytes.length - 2, bytes.length - 1]) {
          expectResult(cutAt(bytes, [offset]), vector.expected);
        }
      }
      for (const { after_bytes: after, events } of vector.eager ?? []) {
        expect(read([bytes.slice(0, after)]).events.length).toBeGreaterThanOrEqual(events);
        expect(read(chunksOf(bytes.slice(0, after), 1)).events.length).toBeGreaterThanOrEqual(events);
      }
    });
  });
} else {
  it('the shared vectors are absent: nothing was compared with them', () => {
    console.warn(`No shared vectors at ${file}; the vectors of test/fixtures/sse cover the same ground.`);
  });
}

function inputOf({ input_b64: whole, input_parts: parts = [] }: Vector): Uint8Array {
  if (whole !== undefined) return new Uint8Array(Buffer.from(whole, 'base64'));
  return new Uint8Array(
    Buffer.concat(parts.flatMap(({ b64, times }) => Array<Buffer>(times).fill(Buffer.from(b64, 'base64')))),
  );
}

interface Read {
  readonly events: ServerSentMessage[];
  readonly retry: number[];
  readonly comments: string[];
  readonly lastEventId: string;
  readonly unfinished: boolean;
}

function read(chunks: readonly Uint8Array[]): Read {
  const parser = createSSEParser();
  const events: ServerSentMessage[] = [];
  const retry: number[] = [];
  const comments: string[] = [];
  for (const chunk of chunks) {
    parser.push(chunk, (event) => {
      if (event.type === 'event') events.push(event);
      else if (event.type === 'retry') retry.push(event.retryMs);
      else if (event.type === 'comment') comments.push(event.comment);
    });
  }
  parser.end();
  return { events, retry, comments, lastEventId: parser.lastEventId, unfinished: parser.unfinished };
}

function expectResult(chunks: readonly Uint8Array[], expected: Expected): void {
  const result = read(chunks);
  expect(result.retry).toStrictEqual(expected.retry.map((retryMs) => Math.min(retryMs, MAX_RETRY_MS)));
  expect(result.lastEventId).toBe(expected.lastEventId);
  expect(result.unfinished).toBe(expected.unfinished);
  expect(
    result.comments.map((comment, index) =>
      typeof expected.comments[index] === 'object' ? { length: comment.length, sha256: sha256(comment) } : comment,
    ),
  ).toStrictEqual(expected.comments);
  if (expected.events !== undefined) {
    expect(result.events.map((event, index) => describeLike(event, expected.events?.[index]))).toStrictEqual(
      expected.events,
    );
  }
  if (expected.event_count !== undefined) {
    expect(result.events).toHaveLength(expected.event_count);
    expect(sha256(result.events.map(({ data }) => data).join('\n'))).toBe(expected.all_data_sha256);
  }
}

/** An event in the form that the vectors use: long data by its length and hash. */
function describeLike({ event, data, id }: ServerSentMessage, like: { data_length?: number } | undefined): object {
  if (like?.data_length === undefined) return { event, data, id };
  return { event, id, data_length: data.length, data_sha256: sha256(data) };
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
