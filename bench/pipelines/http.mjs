// One stream over loopback, read to its end as fast as it comes.
import { bytesOf } from '../fixtures.mjs';
import { loadFixture } from '../loadFixture.mjs';

export async function prepare({ client, fixture: name, tokens: count, framesPerChunk, port }) {
  const { ask, seesBytes = false } = await import(`../clients/${client}.mjs`);
  const { format, frames, tokens, chars } = await loadFixture(name, count);
  const bytes = bytesOf(frames);
  const path = [name, count, framesPerChunk].map(encodeURIComponent).join('/');
  const url = `http://127.0.0.1:${port}/${path}`;
  const expected = seesBytes ? { bytes } : { tokens, chars };
  return {
    expected,
    amounts: { tokens, bytes },
    async run() {
      const counted = seesBytes ? { bytes: 0 } : { tokens: 0, chars: 0 };
      await ask(url, format, ({ length }) => {
        if (seesBytes) counted.bytes += length;
        else {
          counted.tokens += 1;
          counted.chars += length;
        }
      });
      return { counted };
    },
  };
}
