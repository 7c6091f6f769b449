import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ReceivedText } from '../../src/internal/receivedText.js';

function receive(max: number, ...pieces: string[]): ReceivedText {
  const received = new ReceivedText(max);
  for (const piece of pieces) received.add(piece);
  return received;
}

/** The plain definition: the newest `max` characters, without half of a pair at their start. */
function newest(text: string, max: number): string {
  const end = text.slice(Math.max(0, text.length - max));
  return end.length < text.length && /^[\udc00-\udfff]/.test(end) ? end.slice(1) : end;
}

describe('received text', () => {
  it('is empty at first', () => {
    expect(receive(5).get()).toStrictEqual({ text: '', chars: 0, truncated: false });
  });

  it('is whole up to the bound, and cut one character past it', () => {
    expect(receive(4, 'ab', 'cd').get()).toStrictEqual({ text: 'abcd', chars: 4, truncated: false });
    expect(receive(4, 'ab', 'cde').get()).toStrictEqual({ text: 'bcde', chars: 5, truncated: true });
  });

  it('is nothing but a count where the bound is zero', () => {
    expect(receive(0, 'ab', 'c').get()).toStrictEqual({ text: '', chars: 3, truncated: true });
  });

  it('does not begin inside a surrogate pair', () => {
    expect(receive(3, 'a😀bc').get().text).toBe('bc');
    expect(receive(4, 'a😀bc').get().text).toBe('😀bc');
  });

  it('keeps a pair that came in two pieces', () => {
    expect(receive(2, 'abc\ud83d', '\ude00').get().text).toBe('😀');
  });

  it('begins again when it is cleared', () => {
    const received = receive(2, 'abc');
    received.clear();
    received.add('d');
    expect(received.get()).toStrictEqual({ text: 'd', chars: 1, truncated: false });
  });

  it('can be asked in between', () => {
    const received = receive(2, 'abc');
    expect(received.get().text).toBe('bc');
    received.add('d');
    expect(received.get()).toStrictEqual({ text: 'cd', chars: 4, truncated: true });
  });

  it('keeps exactly the newest characters, however they come', () => {
    const unit = fc.constantFrom('a', 'b', '€', '😀', '👩‍🚀');
    const cuts = fc.array(fc.nat({ max: 5 }), { maxLength: 30 });
    fc.assert(
      fc.property(fc.string({ unit, maxLength: 60 }), cuts, fc.nat({ max: 20 }), (all, lengths, max) => {
        // Pieces of these lengths, which may cut a pair, and the rest.
        let at = 0;
        const pieces = lengths.map((length) => all.slice(at, (at += length)));
        const text = newest(all, max);
        expect(receive(max, ...pieces, all.slice(at)).get()).toStrictEqual({
          text,
          chars: all.length,
          truncated: text.length < all.length,
        });
      }),
      { numRuns: 1_000 },
    );
  });
});
