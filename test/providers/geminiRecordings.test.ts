import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { lastValueFrom, of } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { InterruptedError } from '../../src/errors.js';
import { isRecord } from '../../src/protocol/errorBody.js';
import { accumulate } from '../../src/operators/accumulate.js';
import { decode } from '../../src/operators/decode.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import { geminiDialect } from '../../src/providers/geminiDialect.js';
import type { StreamEvent } from '../../src/types.js';
import { decodeAll, type Decoded } from '../support/decodeAll.js';
import { recorded, type Recording, recordings } from '../support/shared.js';

const found = recordings('gemini');
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const EMPTY = sha256('');

function bytesOf(recording: Recording): Buffer {
  const bytes = recorded(recording);
  if (recording.storage === 'raw-sse') return bytes;
  const lines = bytes.toString().split('\n');
  return Buffer.from(lines.map((line) => `data: ${line}\r\n\r\n`).join(''));
}

function told(events: readonly StreamEvent[]): string {
  return events.map((event) => JSON.stringify(event)).join('\n');
}

/** Every string in the frames under a key of these names. */
function stringsAt(keys: readonly string[], value: unknown, key = ''): string[] {
  if (typeof value === 'string') return keys.includes(key) ? [value] : [];
  if (Array.isArray(value)) return value.flatMap((item) => stringsAt(keys, item, key));
  return isRecord(value) ? Object.entries(value).flatMap(([name, item]) => stringsAt(keys, item, name)) : [];
}

function framesOf(bytes: Buffer): unknown[] {
  return bytes
    .toString()
    .split(/\r?\n/)
    .filter((line) => line.startsWith('data: '))
    .map((line) => JSON.parse(line.slice(6)) as unknown);
}

if (found.length === 0) {
  it('has no recordings beside the repository, and skips them', () => {
    expect(found).toHaveLength(0);
  });
} else {
  it('finds the recordings', () => {
    expect(found.length).toBeGreaterThanOrEqual(9);
  });

  describe.each(found)('$file', (recording) => {
    const bytes = bytesOf(recording);
    const whole = decodeAll(geminiDialect(), bytes);

    it('gives the recorded text, thinking, tool arguments and outcome', () => {
      expect({
        text: sha256(whole.text),
        thinking: sha256(whole.thinking),
        toolArguments: sha256(whole.toolArguments),
        outcome: whole.outcome,
      }).toStrictEqual({
        text: recording.text_sha256,
        thinking: recording.reasoning_sha256 ?? EMPTY,
        toolArguments: recording.tool_args_sha256 ?? EMPTY,
        outcome: recording.outcome,
      });
    });

    it('gives the same events however its bytes are cut', () => {
      const expected = told(whole.events);
      const each = Array.from({ length: bytes.length - 1 }, (_, at) => at + 1);
      expect(told(decodeAll(geminiDialect(), bytes, { cuts: each }).events)).toBe(expected);
      fc.assert(
        fc.property(fc.array(fc.nat(bytes.length), { maxLength: 40 }), (cuts) => {
          const sorted = cuts.sort((one, other) => one - other);
          expect(told(decodeAll(geminiDialect(), bytes, { cuts: sorted }).events)).toBe(expected);
        }),
        { numRuns: 30, seed: 9 },
      );
    });

    it('is complete only after a finish reason, wherever its bytes end', () => {
      const proof = bytes.indexOf('"finishReason"');
      fc.assert(
        fc.property(fc.nat(bytes.length - 1), (end) => {
          const { outcome, events } = decodeAll(geminiDialect(), bytes.subarray(0, end));
          if (end < proof) {
            expect(outcome).toBe('interrupted');
            expect(events.some(({ type }) => type === 'finish')).toBe(false);
          }
        }),
        { numRuns: 60, seed: 11 },
      );
    });

    it('leaves out nothing of what the model, the tools and the search said', () => {
      const keys = ['thoughtSignature', 'code', 'output', 'uri', 'renderedContent', 'webSearchQueries', 'stringValue'];
      const heard = new Set(stringsAt(keys, whole.events));
      for (const text of stringsAt(keys, framesOf(bytes))) expect(heard).toContain(text);
    });
  });

  const complete = found.filter(({ outcome }) => outcome === 'complete');
  it.each(complete)('gives $file back as the turn that the model made', async (recording) => {
    const bytes = bytesOf(recording);
    const dialect = geminiDialect();
    const message = await lastValueFrom(of(bytes).pipe(parseSSE(), decode(dialect), accumulate({ dialect })));
    const turn = message.toRequest();
    expect(turn.role).toBe('model');
    const signatures = stringsAt(['thoughtSignature'], framesOf(bytes));
    expect(stringsAt(['thoughtSignature'], turn)).toStrictEqual(signatures);
    const texts = (isThought: boolean): string =>
      turn.parts
        .map(({ text, thought }) => (typeof text === 'string' && (thought === true) === isThought ? text : ''))
        .join('');
    expect(sha256(texts(false))).toBe(recording.text_sha256);
    expect(sha256(texts(true))).toBe(recording.reasoning_sha256 ?? EMPTY);
    expect(JSON.stringify(turn)).not.toMatch(/willContinue|partialArgs|"text":""\}/);
  });

  it('tells an interruption where the stream is cut between two frames', () => {
    for (const recording of complete) {
      const bytes = bytesOf(recording);
      const at = bytes.indexOf('\r\n\r\n') + 4;
      if (bytes.subarray(0, at).includes('"finishReason"')) continue;
      let error: unknown;
      of(bytes.subarray(0, at))
        .pipe(parseSSE(), decode(geminiDialect()))
        .subscribe({ error: (reason: unknown) => (error = reason) });
      expect(error).toBeInstanceOf(InterruptedError);
    }
  });

  it('joins the streamed arguments of Vertex AI, and marks the call that was signed', () => {
    const recording = found.find(({ storage }) => storage === 'json-per-line');
    if (recording === undefined) return;
    const { events }: Decoded = decodeAll(geminiDialect(), bytesOf(recording));
    const calls = events.filter((event) => event.type === 'tool-call');
    expect(calls.map(({ name, arguments: args }) => [name, args])).toStrictEqual([
      ['getWeather', { location: 'Boston' }],
      ['getWeather', { location: 'San Francisco' }],
    ]);
    expect(new Set(calls.map(({ id }) => id)).size).toBe(2);
    expect(events.at(-1)).toStrictEqual({ type: 'finish', reason: 'tool-calls', rawReason: 'STOP' });
    const turn = geminiDialect().turn?.build(events);
    expect(turn?.parts.map((part) => [part['functionCall'], 'thoughtSignature' in part])).toStrictEqual([
      [{ name: 'getWeather', args: { location: 'Boston' } }, true],
      [{ name: 'getWeather', args: { location: 'San Francisco' } }, false],
    ]);
  });

  it('reads the error that Vertex AI splices in, whole or cut behind its first lines', () => {
    const recording = found.find(({ outcome }) => outcome === 'failed');
    if (recording === undefined) return;
    const bytes = bytesOf(recording);
    const { error, text } = decodeAll(geminiDialect(), bytes);
    expect(error).toMatchObject({
      providerCode: 499,
      providerMessage: 'The operation was cancelled.',
      retryable: false,
      frame: { error: { status: 'CANCELLED' } },
    });
    expect(text).toBe('First Second ');
    const from = bytes.indexOf('"error": {\n') + '"error": {\n'.length;
    for (let end = from; end < bytes.length; end++) {
      expect(decodeAll(geminiDialect(), bytes.subarray(0, end)).outcome).toBe('failed');
    }
  });
}
