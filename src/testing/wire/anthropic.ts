import { sseFrame } from './sseFrame.js';
import type { WireAnswer, WireError, WireStream } from './wireAnswer.js';

type Fields = Readonly<Record<string, unknown>>;

/** Anthropic's Messages: block after block, usage at both ends, and pings between. */
export function anthropicStream(answer: WireAnswer): WireStream {
  const { id, model, thinking, pieces, toolCall, usage, finish } = answer;
  const frames: string[] = [];
  const tell = (type: string, fields: Fields = {}): void => {
    frames.push(sseFrame({ type, ...fields }, { event: type }));
  };
  let index = 0;
  const block = (content_block: Fields, deltas: readonly Fields[]): void => {
    tell('content_block_start', { index, content_block });
    for (const delta of deltas) tell('content_block_delta', { index, delta });
    tell('content_block_stop', { index });
    index += 1;
  };
  tell('message_start', {
    message: {
      id,
      type: 'message',
      role: 'assistant',
      model,
      content: [],
      stop_reason: null,
      stop_sequence: null,
      usage: { input_tokens: usage?.inputTokens ?? 0, cache_read_input_tokens: 0, output_tokens: 1 },
    },
  });
  tell('ping');
  if (thinking.length > 0) {
    block({ type: 'thinking', thinking: '', signature: '' }, [
      ...thinking.map((text) => ({ type: 'thinking_delta', thinking: text })),
      { type: 'signature_delta', signature: 'EqQB+mill/wheel==' },
    ]);
  }
  if (pieces.length > 0) {
    block(
      { type: 'text', text: '' },
      pieces.map((text) => ({ type: 'text_delta', text })),
    );
  }
  if (toolCall !== undefined) {
    block({ type: 'tool_use', id: toolCall.id, name: toolCall.name, input: {} }, [
      { type: 'input_json_delta', partial_json: '' },
      ...toolCall.argumentPieces.map((partial_json) => ({ type: 'input_json_delta', partial_json })),
    ]);
  }
  tell('message_delta', {
    delta: { stop_reason: STOP_REASONS[finish], stop_sequence: null },
    usage: { output_tokens: usage?.outputTokens ?? 0 },
  });
  tell('message_stop');
  return { frames, provenFrame: frames.length - 1 };
}

/** A failure in the stream. */
export function anthropicError({ code, message }: WireError): readonly string[] {
  return [sseFrame({ type: 'error', error: { type: code, message }, request_id: 'req_mill' }, { event: 'error' })];
}

const STOP_REASONS: Readonly<Record<WireAnswer['finish'], string>> = {
  stop: 'end_turn',
  length: 'max_tokens',
  tool_calls: 'tool_use',
  content_filter: 'refusal',
};
