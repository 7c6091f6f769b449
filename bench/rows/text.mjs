import { describeCut } from './describeCut.mjs';

/** Parser, decoder and text in memory. */
export function text({ tokens }) {
  return [{ framesPerChunk: 1 }, { bytesPerChunk: 16_384 }].map((cut) => {
    const reader = (name, reader, isOurs = false) => ({
      name,
      pipeline: 'text',
      params: { fixture: 'chat', tokens, cut, reader },
      isOurs,
    });
    return {
      row: 'text',
      title: `parse, decode, text, in memory, ${describeCut(cut)}`,
      cases: [
        reader('millrace', 'pipeline', true),
        reader('eventsource-parser, JSON.parse', 'eventsourceParser'),
        reader('parseSSE, JSON.parse', 'parseThenJSON'),
      ],
      tables: [
        {
          metric: 'cpuPerToken',
          comparisons: [
            {
              on: 'eventsource-parser, JSON.parse',
              of: 'eventsource-parser, JSON.parse',
              to: 'millrace',
              atLeast: 4,
            },
            { on: 'parseSSE, JSON.parse', of: 'parseSSE, JSON.parse', to: 'millrace' },
          ],
        },
      ],
    };
  });
}
