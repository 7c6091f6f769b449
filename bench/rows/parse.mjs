import { describeCut } from './describeCut.mjs';

/** The parser alone: bytes in, events out. */
export function parse({ tokens }) {
  return [{ framesPerChunk: 1 }, { bytesPerChunk: 16_384 }].map((cut) => {
    const params = { fixture: 'chat', tokens, cut };
    return {
      row: 'parse',
      title: `parseSSE alone, in memory, ${describeCut(cut)}`,
      cases: [
        { name: 'millrace', pipeline: 'parse', params: { ...params, parser: 'millrace' }, isOurs: true },
        { name: 'eventsource-parser', pipeline: 'parse', params: { ...params, parser: 'eventsourceParser' } },
      ],
      tables: [
        {
          metric: 'cpuPerEvent',
          comparisons: [{ on: 'eventsource-parser', of: 'eventsource-parser', to: 'millrace', atLeast: 1.5 }],
        },
      ],
    };
  });
}
