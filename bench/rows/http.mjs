import { describeCut } from './describeCut.mjs';

/** Names, in the table and in the picture, of those who read over HTTP. */
export const CLIENTS = {
  millrace: 'millrace',
  fetchLoop: 'hand-written fetch loop',
  eventsourceParser: 'eventsource-parser, JSON.parse, fetch',
  openai: 'openai SDK',
  anthropic: 'anthropic SDK',
  ai: 'ai SDK',
  undiciRequest: 'undici request, body read and dropped',
  undici: 'undici dispatch, body dropped',
};

/** What a client's cost must be, beside millrace's. */
const TARGETS = {
  fetchLoop: [2, 2],
  openai: [15, 8],
  ai: [50, 30],
};
/** What millrace's cost may be, beside undici's alone, by either of its ways. */
const NEAR_RAW = [3, 1.8];
export const RAW = ['undiciRequest', 'undici'];

/** One stream over loopback as fast as it is read. */
export function http({ tokens }, { ports }) {
  const clients = ['millrace', 'fetchLoop', 'eventsourceParser', 'openai', 'ai', ...RAW];
  return [50, 1].map((framesPerChunk) =>
    httpGroup({
      row: 'http',
      title: `fromCall, toTokens over loopback HTTP, full speed, ${describeCut({ framesPerChunk })}`,
      clients,
      params: { fixture: 'chat', tokens, framesPerChunk, port: ports.full },
    }),
  );
}

/** A group of clients who read the same stream. */
export function httpGroup({ row, title, clients, params }) {
  const column = params.framesPerChunk === 1 ? 1 : 0;
  return {
    row,
    title,
    cases: clients.map((client) => ({
      name: CLIENTS[client],
      pipeline: 'http',
      params: { ...params, client },
      isOurs: client === 'millrace',
    })),
    tables: [{ metric: 'cpuPerToken', comparisons: clients.slice(1).map((client) => compare(client, column)) }],
  };
}

function compare(client, column) {
  const name = CLIENTS[client];
  if (RAW.includes(client)) return { on: name, of: 'millrace', to: name, atMost: NEAR_RAW[column] };
  return { on: name, of: name, to: 'millrace', atLeast: TARGETS[client]?.[column] };
}
