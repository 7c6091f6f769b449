/** Small strings to a file. */
export function file({ isQuick }) {
  const tokens = isQuick ? 20_000 : 200_000;
  const caseOf = (name, writer, isOurs = false) => ({ name, pipeline: 'file', params: { writer, tokens }, isOurs });
  const comparison = { on: 'toFile', of: 'toFile', to: 'fs.createWriteStream' };
  return [
    {
      row: 'file',
      title: `${tokens.toLocaleString('en')} tokens to a file, 50 at each turn of the event loop`,
      cases: [caseOf('toFile', 'toFile', true), caseOf('fs.createWriteStream', 'createWriteStream')],
      tables: [
        { metric: 'cpuPerToken', comparisons: [{ ...comparison, atMost: 1.2 }] },
        { metric: 'wallPerToken', comparisons: [comparison] },
      ],
    },
  ];
}
