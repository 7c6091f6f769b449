// What is told of a round. `per` counts what the pipeline says it handled.

const cpuPer = (amount, unit, factor) => ({
  title: `processor time per ${amount}`,
  unit,
  of: ({ cpuMicros, runs, amounts }) => (cpuMicros * factor) / (runs * amounts[`${amount}s`]),
});

export const METRICS = {
  cpuPerToken: cpuPer('token', 'µs', 1),
  cpuPerEvent: cpuPer('event', 'µs', 1),
  cpuPerByte: cpuPer('byte', 'ns', 1000),
  wallPerToken: {
    title: 'time by the clock per token',
    unit: 'µs',
    of: ({ wallMicros, runs, amounts }) => wallMicros / (runs * amounts.tokens),
  },
  latencyP50: { title: 'added latency, median', unit: 'ms', of: ({ values }) => values.p50 },
  latencyP99: { title: 'added latency, 99th percentile', unit: 'ms', of: ({ values }) => values.p99 },
  pace: { title: 'pace of a stream (50 is sent)', unit: 'tokens/s', of: ({ values }) => values.pace },
};
