// An ordinary server that writes as fast as it is read: each chunk by a `write` of its own, which HTTP makes a chunk.
//
//   /<fixture>/<tokens>/<frames a chunk>/...      what comes after, clients append
import { once } from 'node:events';
import { createServer } from 'node:http';
import { chunksOf } from './fixtures.mjs';
import { loadFixture } from './loadFixture.mjs';
import { isNDJSON } from './picks.mjs';

const answers = new Map();

async function prepareAnswer(name, tokens, framesPerChunk) {
  const key = `${name} ${tokens} ${framesPerChunk}`;
  let answer = answers.get(key);
  if (answer === undefined) {
    const { frames, format } = await loadFixture(name, tokens);
    const type = isNDJSON(format) ? 'application/x-ndjson' : 'text/event-stream';
    answer = { type, chunks: chunksOf(frames, { framesPerChunk }) };
    answers.set(key, answer);
  }
  return answer;
}

async function serve(request, response) {
  request.resume();
  await once(request, 'end');
  const [name, tokens, framesPerChunk] = request.url.slice(1).split('/').map(decodeURIComponent);
  const { type, chunks } = await prepareAnswer(name, Number(tokens), Number(framesPerChunk));
  response.writeHead(200, { 'content-type': type });
  for (const chunk of chunks) if (!response.write(chunk)) await once(response, 'drain');
  response.end();
}

export function createFullServer() {
  return createServer((request, response) => {
    serve(request, response).catch((error) => {
      console.error(error);
      response.destroy();
    });
  });
}
