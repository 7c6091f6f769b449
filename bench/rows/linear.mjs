/** Against itself at half the size. */
export function linear({ isQuick }) {
  const sizes = [
    ['event', 4, 'one event of 4 MiB in chunks of 1 KiB'],
    ['events', isQuick ? 20 : 100, `${isQuick ? 20 : 100} MiB of events of 20 bytes`],
    ['line', 64, 'a line of 64 MiB against its limit'],
  ];
  return sizes.map(([shape, mebibytes, title]) => {
    const whole = `millrace, ${mebibytes} MiB`;
    const half = `millrace, ${mebibytes / 2} MiB`;
    const caseOf = (name, size) => ({ name, pipeline: 'linear', params: { shape, mebibytes: size }, isOurs: true });
    return {
      row: 'linear',
      title,
      cases: [caseOf(whole, mebibytes), caseOf(half, mebibytes / 2)],
      tables: [{ metric: 'cpuPerByte', comparisons: [{ on: whole, of: whole, to: half, atMost: 1.1 }] }],
    };
  });
}
