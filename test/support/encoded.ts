import { createServer } from 'node:http';
import fc from 'fast-check';
import { onTestFinished } from 'vitest';
import { encoderFor } from '../../src/protocol/encoderFor.js';
import {
  type EncoderOptions,
  type EventEncoder,
  type ResponseFormat,
  RestartNotTold,
  type ToldFailure,
} from '../../src/protocol/eventFormat.js';
import type { Receipt, StreamEvent } from '../../src/types.js';

export const ENCODER_OPTIONS: EncoderOptions = {
  events: {},
  aiSDKVersion: 6,
  model: 'm-1',
  id: 'answer-1',
  createdAt: 1_763_000_000,
};

export const FAILURE: ToldFailure = { code: 'ERR_PROVIDER', message: 'The model is gone', retryable: false };

export function newEncoder(format: ResponseFormat, options: Partial<EncoderOptions> = {}): EventEncoder {
  return encoderFor(format, { ...ENCODER_OPTIONS, ...options });
}

/** How the pieces of one response end. */
export type Ending = 'complete' | 'stopped' | 'cut' | ToldFailure;

/** What a sink writes for these events, piece by piece; nothing after the last one where the response is cut. */
export function encodeAll(
  format: ResponseFormat,
  events: Iterable<StreamEvent | string>,
  options: Partial<EncoderOptions> & { readonly ending?: Ending; readonly receipt?: Receipt } = {},
): string[] {
  const { ending = 'complete', receipt, ...rest } = options;
  const encoder = newEncoder(format, rest);
  const pieces = [encoder.open()];
  for (const event of events) pieces.push(encoder.encode(event));
  if (typeof ending === 'object') pieces.push(encoder.fail(ending));
  else if (ending !== 'cut') pieces.push(encoder.close({ outcome: ending, receipt }));
  return pieces.filter((piece) => piece !== '');
}

/** The same, by a sink that ends with a failure at a restart which the format cannot tell. */
export function encodeAsSink(
  format: ResponseFormat,
  events: readonly StreamEvent[],
  ending: 'complete' | ToldFailure,
): { readonly pieces: readonly string[]; readonly told: readonly StreamEvent[]; readonly isWhole: boolean } {
  const encoder = newEncoder(format);
  const pieces = [encoder.open()];
  const told: StreamEvent[] = [];
  let failure = ending === 'complete' ? undefined : ending;
  try {
    for (const event of events) {
      pieces.push(encoder.encode(event));
      told.push(event);
    }
  } catch (error) {
    if (!(error instanceof RestartNotTold)) throw error;
    failure = FAILURE;
  }
  pieces.push(failure === undefined ? encoder.close({ outcome: 'complete' }) : encoder.fail(failure));
  return { pieces: pieces.filter((piece) => piece !== ''), told, isWhole: failure === undefined };
}

/** The JSON of the data of every event of a body. */
export function framesOf(pieces: readonly string[]): unknown[] {
  return pieces
    .join('')
    .split('\n')
    .filter((line) => line.startsWith('data: ') && line !== 'data: [DONE]')
    .map((line) => JSON.parse(line.slice('data: '.length)) as unknown);
}

/** Serves one body for every request of the test; `cut` destroys the connection behind it. */
export async function serveBody(
  { headers }: Pick<EventEncoder, 'headers'>,
  pieces: readonly string[],
  options: { readonly cut?: boolean } = {},
): Promise<string> {
  const server = createServer((request, response) => {
    request.resume().on('end', () => {
      response.writeHead(200, { ...headers });
      // An empty piece at the end is written behind all others.
      for (const piece of pieces) response.write(piece);
      response.flushHeaders();
      response.write('', () => {
        if (options.cut === true) response.destroy();
        else response.end();
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(
    () =>
      new Promise<void>((resolve) => {
        server.close(() => {
          resolve();
        });
        server.closeAllConnections();
      }),
  );
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return `http://127.0.0.1:${String(address.port)}`;
}

export const text = (value: string, name = 'output', index = 0): StreamEvent => ({
  type: 'text',
  text: value,
  index,
  name,
});
export const thinking = (value: string): StreamEvent => ({ type: 'thinking', text: value, index: 0, name: 'thinking' });
export const finish = (reason: 'stop' | 'tool-calls' = 'stop'): StreamEvent => ({ type: 'finish', reason });
export const restart: StreamEvent = { type: 'restart', attempt: 2, because: 'it was cut', discard: { chars: 3 } };

const word = fc.string({ unit: 'binary', maxLength: 12 });
const piece = fc.string({ unit: 'binary', minLength: 1, maxLength: 12 });
const count = fc.nat(1000);
const flag = fc.constant(true as const);
/** What JSON can say: it has no negative zero. */
const json = fc.jsonValue({ maxDepth: 2 }).map((value) => JSON.parse(JSON.stringify(value)) as unknown);

function event(
  type: StreamEvent['type'],
  required: Readonly<Record<string, fc.Arbitrary<unknown>>>,
  optional: Readonly<Record<string, fc.Arbitrary<unknown>>> = {},
): fc.Arbitrary<StreamEvent> {
  return fc
    .record({ ...required, ...optional }, { requiredKeys: Object.keys(required) })
    .map((fields) => ({ type, ...fields }) as unknown as StreamEvent); // as the table says
}

/** Few, so that outputs and calls come again. */
const place = { index: fc.nat(2), name: fc.constantFrom('output', 'thinking', 'é') };
const id = fc.oneof(fc.constantFrom('c1', 'c2'), piece);
const cost = fc.record({ total: fc.nat(), currency: word }, { requiredKeys: [], noNullPrototype: true });

/** Any event, of every type. */
export const anyEvent: fc.Arbitrary<StreamEvent> = fc.oneof(
  event('text', { ...place, text: piece }, { alternative: flag }),
  event('thinking', { ...place, text: piece }, { alternative: flag }),
  event('refusal', { ...place, text: piece }, { alternative: flag }),
  event(
    'tool-call-delta',
    { index: count, id, name: word, argumentsDelta: word },
    { alternative: flag, providerExecuted: flag },
  ),
  event(
    'tool-call',
    { index: count, id, name: word, arguments: json, argumentsText: word },
    { alternative: flag, providerExecuted: flag },
  ),
  event('tool-result', { index: count, id, name: word, result: json }, { isError: flag, preliminary: flag }),
  event('status', { status: word, terminal: fc.boolean() }, { code: count, id: word }),
  event('progress', { current: count }, { total: count, message: word }),
  event('log', { message: word }, { id: word, kind: word, at: word, continues: flag }),
  event('output', { value: json, final: fc.boolean() }),
  event('media', { ...place, kind: word, content: json }, { alternative: flag }),
  event(
    'usage',
    { provenance: fc.constantFrom('reported', 'partial', 'unknown') },
    { inputTokens: count, outputTokens: count, totalTokens: count, reasoningTokens: count, cachedTokens: count, cost },
  ),
  event('warning', { code: word, message: word }, { detail: json }),
  event('heartbeat', { comment: word }),
  event('finish', { reason: fc.constantFrom('stop', 'length', 'refusal', 'unknown') }, { rawReason: word }),
  event('restart', { attempt: count, because: word, discard: fc.record({ chars: count }, { noNullPrototype: true }) }),
  event('raw', { frame: json }, { event: word }),
);
