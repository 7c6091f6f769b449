/** How long and how often; `--quick` has all the rows in under a minute on two cores. */
export const SETTINGS = {
  full: {
    rounds: 7,
    cpuMillis: 300,
    warmUpMillis: 1000,
    wallMillis: 5_000,
    tokens: 20_000,
    streams: 1_000,
    pacedTokens: 300,
    pacedRounds: 3,
    isQuick: false,
  },
  quick: {
    rounds: 3,
    cpuMillis: 30,
    warmUpMillis: 120,
    wallMillis: 1_000,
    tokens: 4_000,
    streams: 200,
    pacedTokens: 50,
    pacedRounds: 2,
    isQuick: true,
  },
};
