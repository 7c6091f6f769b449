// Bytes in, pieces of text out, in memory.
import { createParser } from 'eventsource-parser';
import { bytesOf, chunksOf } from '../fixtures.mjs';
import { loadFixture } from '../loadFixture.mjs';
import { load } from '../millrace.mjs';
import * as readers from '../readers.mjs';

/** The readers that need nothing of millrace. */
const PEERS = ['splitLines', 'eventsourceParser'];

export async function prepare({ reader, fixture, tokens: count, cut }) {
  const { frames, format, tokens, chars } = await loadFixture(fixture, count);
  const library = PEERS.includes(reader)
    ? { createParser }
    : { core: await load('index.js'), providers: await load('providers/index.js') };
  const counted = { tokens: 0, chars: 0 };
  const chunks = chunksOf(frames, cut);
  const read = readers[reader](library, {
    format,
    chunks,
    onText(text) {
      counted.tokens += 1;
      counted.chars += text.length;
    },
  });
  const share = reader === 'pipeline' ? readers.fastShare(library, { format, chunks }) : undefined;
  return {
    expected: { tokens, chars },
    amounts: { tokens, bytes: bytesOf(frames) },
    run() {
      counted.tokens = 0;
      counted.chars = 0;
      read();
      return { counted, values: { share } };
    },
  };
}
