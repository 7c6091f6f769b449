// Work whose cost must grow with its size and no faster. The same chunk is fed again and again, so that the input itself takes no
// memory.
import { Observable } from 'rxjs';
import { load } from '../millrace.mjs';

const KIB = 1024;
const MIB = KIB * KIB;

/** What is fed for a size in bytes, and what must come out. */
const SHAPES = {
  /** One event in chunks of 1 KiB. */
  event(size) {
    const chunk = Buffer.alloc(KIB, 'x');
    const head = Buffer.from('data: ');
    return {
      *chunks() {
        yield head;
        for (let fed = 0; fed < size; fed += KIB) yield chunk;
        yield Buffer.from('\n\n');
      },
      expected: { events: 1, chars: size, failure: 'none' },
    };
  },
  /** Events of 20 bytes, in chunks of about 64 KiB. */
  events(size) {
    const event = 'data: 123456789012\n\n';
    const chunk = Buffer.from(event.repeat(3200));
    const times = Math.round(size / chunk.length);
    return {
      *chunks() {
        for (let fed = 0; fed < times; fed += 1) yield chunk;
      },
      expected: { events: times * 3200, chars: times * 3200 * 12, failure: 'none' },
    };
  },
  /** A line that goes on until it is over its limit, in chunks of 64 KiB. */
  line(size) {
    const chunk = Buffer.alloc(64 * KIB, 'x');
    return {
      options: { maxLineBytes: size, maxEventBytes: Infinity },
      *chunks() {
        yield Buffer.from('data: ');
        for (let fed = 0; fed < size; fed += chunk.length) yield chunk;
      },
      expected: { events: 0, chars: 0, failure: 'ERR_LIMIT' },
    };
  },
};

export async function prepare({ shape, mebibytes }) {
  const { parseSSE } = await load('index.js');
  const { chunks, expected, options } = SHAPES[shape](mebibytes * MIB);
  return {
    expected,
    amounts: { bytes: mebibytes * MIB },
    run() {
      const counted = { events: 0, chars: 0, failure: 'none' };
      new Observable((subscriber) => {
        for (const chunk of chunks()) {
          if (subscriber.closed) return;
          subscriber.next(chunk);
        }
        subscriber.complete();
      })
        .pipe(parseSSE(options))
        .subscribe({
          next(event) {
            counted.events += 1;
            counted.chars += event.data.length;
          },
          error(error) {
            counted.failure = error.code;
          },
        });
      return { counted };
    },
  };
}
