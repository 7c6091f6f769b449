import { hasRecordings, RECORDINGS } from '../recordings.mjs';
import { describeCut } from './describeCut.mjs';
import { httpGroup, RAW } from './http.mjs';
import { memoryGroup } from './memoryGroup.mjs';

/** The SDK of each format. */
const SDKS = { chat: ['openai', 'ai'], responses: ['openai'], anthropic: ['anthropic'], gemini: [] };

/** Recordings of real streams, in memory and over HTTP. */
export function recordings({ tokens, isQuick }, { ports }) {
  if (!hasRecordings) console.log('\nNo recordings beside the project: their row is left out.');
  return RECORDINGS.flatMap(({ file, format, shows }) => {
    const fixture = `recording:${file}`;
    const title = `${shows} (${file})`;
    const inMemory = memoryGroup({ row: 'recordings', title: `${title}, in memory`, fixture, tokens, isQuick });
    if (isQuick) return [inMemory];
    const clients = ['millrace', 'fetchLoop', ...SDKS[format], ...RAW];
    const overHTTP = [50, 1].map((framesPerChunk) =>
      httpGroup({
        row: 'recordings',
        title: `${title}, over HTTP, ${describeCut({ framesPerChunk })}`,
        clients,
        params: { fixture, tokens, framesPerChunk, port: ports.full },
      }),
    );
    return [inMemory, ...overHTTP];
  });
}
