const CUT = { bytesPerChunk: 16_384 };
/** What a dialect may cost, beside lines and `JSON.parse`: the way through a parser and RxJS is the same for all. */
const HALF = 0.5;
const DECODER = 'its decoder alone';

/** A stream in memory, read by millrace and by the least that a reader by hand does. */
export function memoryGroup({ row, title, fixture, tokens, isQuick }) {
  const caseOf = (name, reader, isOurs = false) => ({
    name,
    pipeline: 'text',
    params: { fixture, tokens, cut: CUT, reader },
    isOurs,
  });
  const byHand = 'lines, JSON.parse';
  const ours = [caseOf('millrace', 'pipeline', true), ...(isQuick ? [] : [caseOf(DECODER, 'decoder', true)])];
  return {
    row,
    title,
    cases: [...ours, caseOf(byHand, 'splitLines')],
    tables: [
      {
        metric: 'cpuPerToken',
        comparisons: ours.map(({ name }) => ({
          on: name,
          of: name,
          to: byHand,
          ...(name === DECODER && { atMost: HALF }),
        })),
      },
    ],
  };
}
