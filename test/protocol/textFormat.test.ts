import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RestartNotTold } from '../../src/protocol/eventFormat.js';
import type { StreamEvent } from '../../src/types.js';
import { anyEvent, encodeAll, FAILURE, finish, newEncoder, restart, text, thinking } from '../support/encoded.js';

describe('text', () => {
  it('is the text and nothing else', () => {
    const body = encodeAll('text', [thinking('hm'), text('Hel'), { type: 'heartbeat', comment: 'c' }, 'lo', finish()]);
    expect(body.join('')).toBe('Hello');
  });

  it('is that of the first output, and never mixed', () => {
    const other: StreamEvent = { type: 'text', text: 'x', index: 1, name: 'output', alternative: true };
    expect(encodeAll('text', [other, text('a', 'answer'), text('y', 'summary'), text('b', 'answer')]).join('')).toBe(
      'ab',
    );
  });

  it('keeps the halves of a surrogate pair together, and loses none at the end', () => {
    const encoder = newEncoder('text');
    expect(encoder.encode('a\ud83d')).toBe('a');
    expect(encoder.encode('\udc0e')).toBe('🐎');
    expect(encoder.encode('\ud83d')).toBe('');
    expect(encoder.close({ outcome: 'complete' })).toBe('\ud83d');
  });

  it('is whole in UTF-8 however it was cut', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.nat(20), (whole, size) => {
        const pieces = Array.from({ length: whole.length }, (_, at) =>
          whole.slice(at * (size + 1), (at + 1) * (size + 1)),
        );
        const sent = encodeAll('text', pieces).map((piece) => Buffer.from(piece));
        expect(Buffer.concat(sent).toString()).toBe(Buffer.from(whole).toString());
      }),
    );
  });

  it('says by its encoder that a failure is told by cutting the connection', () => {
    const encoder = newEncoder('text');
    expect(encoder.failsByCutting).toBe(true);
    encoder.encode('a\ud83d');
    expect(encoder.fail(FAILURE)).toBe('');
    expect(encoder.close({ outcome: 'stopped' })).toBe('');
    expect(encoder.heartbeat('here')).toBe('');
  });

  it('hides a restart before any text was sent, and cannot tell one after it', () => {
    expect(encodeAll('text', [thinking('hm'), restart, text('a', 'other', 3)]).join('')).toBe('a');
    expect(() => encodeAll('text', ['a', restart])).toThrow(RestartNotTold);
  });

  it('begins with the new answer’s output after a restart', () => {
    const encoder = newEncoder('text');
    encoder.encode(text('\ud83d', 'one'));
    encoder.encode(restart);
    expect(encoder.encode(text('a', 'two'))).toBe('a');
  });

  it('is not guessed at by a browser, nor kept or changed on the way', () => {
    expect(newEncoder('text').headers).toEqual({
      'content-type': 'text/plain; charset=utf-8',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
      'x-content-type-options': 'nosniff',
    });
  });

  it('is as much as came, whatever comes beside it', () => {
    fc.assert(
      fc.property(fc.array(anyEvent.filter(({ type }) => type !== 'restart')), (events) => {
        const first = events.find((event) => event.type === 'text' && event.alternative !== true);
        const expected = events.map((event) => {
          if (event.type !== 'text' || first?.type !== 'text' || event.alternative === true) return '';
          return event.index === first.index && event.name === first.name ? event.text : '';
        });
        expect(encodeAll('text', events).join('')).toBe(expected.join(''));
      }),
    );
  });
});
