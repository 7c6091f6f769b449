// Bytes in, events out, in memory: `parseSSE()`, and eventsource-parser behind a TextDecoder.
import { createParser } from 'eventsource-parser';
import { from } from 'rxjs';
import { bytesOf, chunksOf } from '../fixtures.mjs';
import { loadFixture } from '../loadFixture.mjs';
import { load } from '../millrace.mjs';

const PARSERS = {
  async millrace(chunks, onData) {
    const { parseSSE } = await load('index.js');
    return () => {
      from(chunks)
        .pipe(parseSSE())
        .subscribe((event) => {
          if (event.type === 'event') onData(event.data);
        });
    };
  },
  eventsourceParser(chunks, onData) {
    return () => {
      const decoder = new TextDecoder();
      const parser = createParser({
        onEvent(event) {
          onData(event.data);
        },
      });
      for (const chunk of chunks) parser.feed(decoder.decode(chunk, { stream: true }));
    };
  },
};

export async function prepare({ parser, fixture, tokens, cut }) {
  const { frames } = await loadFixture(fixture, tokens);
  const datas = frames.map((frame) => frame.slice('data: '.length, -2));
  const counted = { events: 0, chars: 0 };
  const parse = await PARSERS[parser](chunksOf(frames, cut), (data) => {
    counted.events += 1;
    counted.chars += data.length;
  });
  return {
    expected: { events: frames.length, chars: datas.join('').length },
    amounts: { events: frames.length, bytes: bytesOf(frames) },
    run() {
      counted.events = 0;
      counted.chars = 0;
      parse();
      return { counted };
    },
  };
}
