import { describe, expect, it } from 'vitest';
import type { Receipt, StreamEvent } from '../../src/types.js';
import { encodeAll, FAILURE, finish, framesOf, newEncoder, restart, text } from '../support/encoded.js';

const spent = { inputTokens: 1, cost: { total: 2, currency: 'EUR' }, provenance: 'reported' } as const;
const receipt: Receipt = {
  where: 'response',
  chars: 1,
  bytes: 60,
  outcome: 'complete',
  timings: { startedAt: 0, totalMs: 1 },
  usage: spent,
  usageByAttempt: [spent, spent],
  attempts: 2,
  restarts: 0,
  warnings: [],
  requestIds: ['r1'],
  billing: 'ended',
};
const usage: StreamEvent = { type: 'usage', ...spent };
const log: StreamEvent = { type: 'log', message: 'line' };
const raw: StreamEvent = { type: 'raw', frame: { secret: true }, event: 'x' };

describe('the millrace format', () => {
  it('is one default event for each, numbered, and an end line', () => {
    expect(encodeAll('millrace', [text('a'), 'b\nc', finish()])).toEqual([
      'id: 1\ndata: {"type":"text","text":"a","index":0,"name":"output"}\n\n',
      'id: 2\ndata: {"type":"text","text":"b\\nc","index":0,"name":"output"}\n\n',
      'id: 3\ndata: {"type":"finish","reason":"stop"}\n\n',
      'id: 4\ndata: {"type":"end","outcome":"complete"}\n\n',
    ]);
  });

  it('tells a failure in place of the end', () => {
    expect(encodeAll('millrace', ['a'], { ending: FAILURE }).at(-1)).toBe(
      'id: 2\ndata: {"type":"error","code":"ERR_PROVIDER","message":"The model is gone","retryable":false}\n\n',
    );
  });

  it('sends raw frames, log lines and cost only where they are asked for', () => {
    const told = framesOf(encodeAll('millrace', [raw, log, usage], { receipt }));
    const { cost: _, ...counts } = spent;
    expect(told).toStrictEqual([
      { type: 'usage', ...counts },
      { type: 'end', outcome: 'complete', receipt: { ...receipt, usage: counts, usageByAttempt: [counts, counts] } },
    ]);
    const all = { events: { raw: true, log: true, cost: true }, receipt };
    expect(framesOf(encodeAll('millrace', [raw, log, usage], all))).toStrictEqual([
      raw,
      log,
      usage,
      { type: 'end', outcome: 'complete', receipt },
    ]);
  });

  it('does not change the events that it is given', () => {
    const before = JSON.stringify([usage, receipt]);
    encodeAll('millrace', [usage], { receipt });
    expect(JSON.stringify([usage, receipt])).toBe(before);
  });

  it('tells a heartbeat by a comment, or by an event where it has no such form', () => {
    const encoder = newEncoder('millrace');
    expect(encoder.encode({ type: 'heartbeat', comment: 'OPENROUTER PROCESSING' })).toBe(': OPENROUTER PROCESSING\n\n');
    expect(encoder.encode({ type: 'heartbeat', comment: '' })).toBe(': \n\n');
    expect(encoder.encode({ type: 'heartbeat', comment: 'a\nb' })).toBe(
      'id: 1\ndata: {"type":"heartbeat","comment":"a\\nb"}\n\n',
    );
    expect(encoder.heartbeat('a\r\nb')).toBe(': a b\n\n');
  });

  it('tells a restart', () => {
    expect(framesOf(encodeAll('millrace', ['a', restart]))).toContainEqual(restart);
  });

  it('refuses a value that JSON cannot say, and goes on counting as if it had not come', () => {
    const encoder = newEncoder('millrace');
    const impossible: StreamEvent = { type: 'output', value: 1n, final: true };
    expect(() => encoder.encode(impossible)).toThrow(expect.objectContaining({ code: 'ERR_SINK' }));
    expect(encoder.encode('a')).toContain('id: 1\n');
  });

  it('is not kept, changed or gathered on the way', () => {
    expect(newEncoder('millrace').headers).toEqual({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
    });
  });
});
