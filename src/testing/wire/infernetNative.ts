import { sseFrame } from './sseFrame.js';
import type { WireAnswer, WireError, WireStream } from './wireAnswer.js';
import { withInlineThinking } from './withInlineThinking.js';

const FIRST_ID = 901;

/** The stream of Infernet's own server: named events with ids; `done` says the whole text again. */
export function infernetNativeStream(answer: WireAnswer): WireStream {
  const started = new Date(answer.createdAt).toISOString();
  const pieces = withInlineThinking(answer);
  const events: readonly (readonly [string, unknown])[] = [
    [
      'meta',
      { provider_node_id: 'n1', provider_name: 'Rig', model: answer.model, started_at: started, engine: 'ollama' },
    ],
    ...pieces.map((text) => ['token', { text }] as const),
    ['done', { text: pieces.join(''), reason: answer.finish === 'length' ? 'length' : 'stop', finished_at: started }],
  ];
  const job = { id: answer.id, type: 'chat', status: 'assigned', model_name: answer.model, input_spec: {} };
  return {
    frames: [
      sseFrame(job, { event: 'job' }),
      ...events.map(([event, data], index) => sseFrame(data, { id: FIRST_ID + index, event })),
    ],
    provenFrame: events.length,
  };
}

/** The engine failed; nothing follows. */
export function infernetNativeError({ message }: WireError): readonly string[] {
  return [sseFrame({ message }, { event: 'error' })];
}

/** The answer to the status route. */
export function infernetNativeStatus(answer: WireAnswer, state: string, error?: WireError): object {
  const at = new Date(answer.createdAt).toISOString();
  return {
    id: answer.id,
    status: state,
    model_name: answer.model,
    provider_id: 'n1',
    error: error?.message ?? null,
    latest_error_message: error?.message ?? null,
    completed_at: state === 'completed' ? at : null,
    updated_at: at,
  };
}

/** The answer to the request that starts a chat. */
export function infernetNativeAccepted(answer: WireAnswer): object {
  return {
    jobId: answer.id,
    status: 'assigned',
    source: 'p2p',
    provider: { id: 'n1', name: 'Rig', nodeId: 'n1', gpuModel: 'RTX 4090', model: answer.model, pubkey: 'ed25519:00' },
    streamUrl: `/api/chat/stream/${answer.id}`,
  };
}
