import fc from 'fast-check';
import { lastValueFrom, toArray } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { InterruptedError, isRetryable, ProviderError } from '../../src/errors.js';
import { decode } from '../../src/operators/decode.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import { millrace } from '../../src/providers/index.js';
import { fromHTTP } from '../../src/sources/fromHTTP.js';
import type { Receipt, StreamEvent } from '../../src/types.js';
import { decodeAll } from '../support/decodeAll.js';
import { decodeEvents, wireEvents } from '../support/decodeEvents.js';
import { anyEvent, encodeAll, FAILURE, finish, newEncoder, serveBody, text, thinking } from '../support/encoded.js';

const ALL = { raw: true, log: true, cost: true } as const;

function decoded(body: string): ReturnType<typeof decodeEvents> {
  return decodeEvents(millrace, wireEvents('sse', body));
}

const receipt = (by: 'notifier' | 'shutdown'): Receipt => ({
  where: 'response',
  chars: 3,
  bytes: 40,
  outcome: 'stopped',
  by,
  timings: { startedAt: 0, totalMs: 1 },
  usage: { provenance: 'unknown' },
  attempts: 1,
  restarts: 0,
  warnings: [],
  requestIds: [],
  billing: 'unknown',
});

describe('what millrace wrote', () => {
  it('is read back to the very same events, cut anywhere', () => {
    fc.assert(
      fc.property(fc.array(anyEvent, { maxLength: 12 }), fc.array(fc.nat(4000), { maxLength: 8 }), (events, places) => {
        const body = encodeAll('millrace', events, { events: ALL }).join('');
        const size = new TextEncoder().encode(body).length;
        const cuts = places.map((cut) => Math.min(cut, size)).sort((one, other) => one - other);
        const told = decodeAll(millrace, body, { cuts });
        expect(told.events).toStrictEqual(events);
        expect(told.outcome).toBe('complete');
      }),
    );
  });

  it('is interrupted wherever its body ends before the end line', () => {
    const events = [thinking('hm'), text('Hel'), text('lo 🐎'), finish()];
    const bytes = new TextEncoder().encode(encodeAll('millrace', events).join(''));
    for (let size = 0; size < bytes.length; size++) {
      const told = decodeAll(millrace, bytes.subarray(0, size), { intact: true });
      expect(told.outcome).toBe('interrupted');
      expect(told.events).not.toContainEqual(finish());
      expect('Hello 🐎').toContain(told.text);
    }
    expect(decodeAll(millrace, bytes).events).toStrictEqual(events);
  });

  it('is decoded by templates after the first pieces', () => {
    const pieces = Array.from({ length: 50 }, (_, n) => text(`piece ${String(n)}`));
    const decoder = millrace.decoder();
    const events: StreamEvent[] = [];
    for (const event of wireEvents('sse', encodeAll('millrace', pieces).join(''))) {
      decoder.push(event, (told) => events.push(told));
    }
    expect(events).toStrictEqual(pieces);
    expect(decoder.templated).toBeGreaterThan(45);
  });

  it('completes on the end line, whatever the server sends after it', () => {
    const body = encodeAll('millrace', [text('a'), finish()]).join('');
    const told = decoded(`${body}data: {"type":"text","text":"b","index":0,"name":"output"}\n\n`);
    expect(told.outcome).toBe('complete');
    expect(told.events).toStrictEqual([text('a'), finish()]);
  });

  it('gets no finish that was not sent, as of a source of strings', () => {
    const told = decoded(encodeAll('millrace', ['a', '', 'b']).join(''));
    expect(told).toMatchObject({ outcome: 'complete', events: [text('a'), text('b')] });
  });
});

describe('a failure at the server', () => {
  it('is a ProviderError with the code, the message and what the server says of another try', () => {
    for (const retryable of [true, false]) {
      const body = encodeAll('millrace', [text('a')], { ending: { ...FAILURE, retryable } }).join('');
      const { events, error } = decoded(body);
      expect(events).toStrictEqual([text('a')]);
      expect(error).toBeInstanceOf(ProviderError);
      expect(error).toMatchObject({ providerCode: 'ERR_PROVIDER', providerMessage: 'The model is gone', retryable });
      expect(isRetryable(error)).toBe(retryable);
    }
  });

  it('is an interruption where the server’s upstream was cut', () => {
    const ending = { code: 'ERR_INTERRUPTED', message: 'the stream ended', retryable: true };
    const { error } = decoded(encodeAll('millrace', [text('a')], { ending }).join(''));
    expect(error).toBeInstanceOf(InterruptedError);
    expect((error as Error).message).toContain('the stream ended');
    expect(isRetryable(error)).toBe(true);
  });

  it('is not worth another try where the server says so, also after a cut', () => {
    const ending = { code: 'ERR_INTERRUPTED', message: 'refused', retryable: false };
    const { error } = decoded(encodeAll('millrace', [], { ending }).join(''));
    expect(error).toBeInstanceOf(ProviderError);
    expect(isRetryable(error)).toBe(false);
  });

  it('keeps a finish that came before it from being told', () => {
    const { events, error } = decoded(encodeAll('millrace', [text('a'), finish()], { ending: FAILURE }).join(''));
    expect(events).toStrictEqual([text('a')]);
    expect(error).toBeInstanceOf(ProviderError);
  });

  it('of something on the way is one too', () => {
    expect(decoded('data: {"error":{"message":"bad gateway","code":502}}\n\n').error).toMatchObject({
      providerCode: 502,
      providerMessage: 'bad gateway',
    });
    expect(decoded('event: error\ndata: {"message":"no"}\n\n').error).toMatchObject({ providerMessage: 'no' });
  });
});

describe('an answer that was stopped at the server', () => {
  it('is a ProviderError that says so, since half an answer is none', () => {
    const body = encodeAll('millrace', [text('a')], { ending: 'stopped', receipt: receipt('notifier') }).join('');
    const { events, error } = decoded(body);
    expect(events).toStrictEqual([text('a')]);
    expect(error).toMatchObject({ name: 'ProviderError', providerCode: 'stopped', retryable: false });
    expect((error as Error).message).toContain('notifier');
  });

  it('is worth another try where the server was shutting down', () => {
    const body = encodeAll('millrace', [], { ending: 'stopped', receipt: receipt('shutdown') }).join('');
    expect(isRetryable(decoded(body).error)).toBe(true);
  });

  it('is told without a receipt too', () => {
    expect(decoded(encodeAll('millrace', [], { ending: 'stopped' }).join('')).error).toMatchObject({
      providerCode: 'stopped',
      retryable: false,
    });
  });
});

describe('another version', () => {
  it('passes events of unknown types as raw', () => {
    const frame = { type: 'hologram', error: 'none', beam: [1] };
    const body = `data: ${JSON.stringify(frame)}\n\ndata: {"a":1}\n\ndata: 5\n\n${newEncoder('millrace').close({ outcome: 'complete' })}`;
    expect(decoded(body).events).toStrictEqual([
      { type: 'raw', frame },
      { type: 'raw', frame: { a: 1 } },
      { type: 'raw', frame: 5 },
    ]);
  });

  it('passes an unknown event behind a finish, in order', () => {
    const body = `data: {"type":"finish","reason":"stop"}\n\ndata: {"type":"hologram"}\n\ndata: {"type":"end","outcome":"complete"}\n\n`;
    expect(decoded(body).events).toStrictEqual([finish(), { type: 'raw', frame: { type: 'hologram' } }]);
  });

  it('keeps members that this one does not know', () => {
    const event = { type: 'text', text: 'a', index: 0, name: 'output', mood: { of: 'the day' } };
    const body = `data: ${JSON.stringify(event)}\n\n`;
    expect(decodeAll(millrace, body + body.replace('"a"', '"b"')).events).toStrictEqual([
      event,
      { ...event, text: 'b' },
    ]);
  });

  it('refuses an event without what it must have', () => {
    const frames = [
      '{"type":"text","index":0,"name":"output"}',
      '{"type":"finish"}',
      '{"type":"end"}',
      '{"type":"usage","provenance":1}',
      '{"type":5}',
    ];
    for (const frame of frames) expect(decoded(`data: ${frame}\n\n`).error).toMatchObject({ code: 'ERR_VALIDATION' });
    expect(decoded('data: hello\n\n').error).toMatchObject({ code: 'ERR_PROTOCOL' });
  });

  it('proves nothing by an end whose outcome it does not know', () => {
    expect(decoded('data: {"type":"end","outcome":"parked"}\n\n').error).toMatchObject({ providerCode: 'parked' });
  });
});

describe('over a socket', () => {
  const events = [thinking('hm'), text('Hel'), text('lo'), finish()];

  it('is read by the same two operators as a provider', async () => {
    const url = await serveBody(newEncoder('millrace'), encodeAll('millrace', events));
    const told = await lastValueFrom(fromHTTP(url).pipe(parseSSE(), decode(millrace), toArray()));
    expect(told).toStrictEqual(events);
  });

  it('is interrupted by a cut', async () => {
    const pieces = encodeAll('millrace', events, { ending: 'cut' });
    const url = await serveBody(newEncoder('millrace'), pieces, { cut: true });
    const reading = lastValueFrom(fromHTTP(url).pipe(parseSSE(), decode(millrace), toArray()));
    await expect(reading).rejects.toMatchObject({ code: 'ERR_INTERRUPTED', received: { text: 'Hello' } });
  });
});
