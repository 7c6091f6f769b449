import { CLIENTS } from './http.mjs';

const INTERVAL_MICROS = 20_000;

/** Many streams at 50 tokens a second each, one token a packet. */
export function paced({ streams, pacedTokens, pacedRounds, isQuick }, { ports }) {
  const clients = ['millrace', 'undici', 'fetchLoop', ...(isQuick ? [] : ['openai', 'ai'])];
  const raw = CLIENTS.undici;
  const others = clients.slice(2).map((client) => CLIENTS[client]);
  const besides = others.map((name) => ({ on: name, of: name, to: CLIENTS.millrace }));
  const params = { streams, tokens: pacedTokens, intervalMicros: INTERVAL_MICROS, port: ports.paced };
  return [
    {
      row: 'paced',
      title: `${streams.toLocaleString('en')} streams at 50 tokens/s, one token a packet`,
      cases: clients.map((client) => ({
        name: CLIENTS[client],
        pipeline: 'paced',
        params: { ...params, client },
        isOurs: client === 'millrace',
      })),
      tables: [
        { metric: 'cpuPerToken', comparisons: [{ on: raw, of: CLIENTS.millrace, to: raw, atMost: 1.2 }, ...besides] },
        { metric: 'latencyP50', comparisons: [] },
        { metric: 'latencyP99', comparisons: [{ on: raw, of: CLIENTS.millrace, to: raw, atMost: 2 }] },
        { metric: 'pace', comparisons: [] },
      ],
      // One run is a round; the pipeline warms up by itself.
      settings: { rounds: pacedRounds, cpuMillis: 0, warmUpMillis: undefined },
    },
  ];
}
