import { sseFrame } from './sseFrame.js';
import { textOf, type WireAnswer, type WireError, type WireStream } from './wireAnswer.js';

type Fields = Readonly<Record<string, unknown>>;

/** OpenAI's Responses: named events with a number each, item by item, and the whole response at its end. */
export function responsesStream(answer: WireAnswer): WireStream {
  const frames: string[] = [];
  const output: object[] = [];
  const tell = (type: string, fields: Fields): void => {
    frames.push(sseFrame({ type, sequence_number: frames.length, ...fields }, { event: type }));
  };
  const begin = (item: Fields): Fields => {
    const place = { item_id: item['id'], output_index: output.length };
    tell('response.output_item.added', { output_index: output.length, item });
    return place;
  };
  const end = (item: Fields): void => {
    tell('response.output_item.done', { output_index: output.length, item });
    output.push(item);
  };

  const open = responseOf(answer, { status: 'in_progress', output: [], usage: null });
  tell('response.created', { response: open });
  tell('response.in_progress', { response: open });
  if (answer.thinking.length > 0) think(answer, begin, end, tell);
  if (answer.pieces.length > 0) say(answer, begin, end, tell);
  if (answer.toolCall !== undefined) call(answer.toolCall, answer.id, begin, end, tell);
  const { usage } = answer;
  const told = usage && {
    input_tokens: usage.inputTokens,
    input_tokens_details: { cached_tokens: 0 },
    output_tokens: usage.outputTokens,
    output_tokens_details: { reasoning_tokens: usage.reasoningTokens },
    total_tokens: usage.inputTokens + usage.outputTokens,
  };
  const cut = CUTS.get(answer.finish);
  const status = cut === undefined ? 'completed' : 'incomplete';
  const incomplete_details = cut === undefined ? null : { reason: cut };
  tell(`response.${status}`, {
    response: responseOf(answer, { status, output, usage: told ?? null, incomplete_details }),
  });
  return { frames, provenFrame: frames.length - 1 };
}

/** A failure in the stream, told twice: as an error, and as the response's own end. */
export function responsesError({ code, message }: WireError): readonly string[] {
  return [
    sseFrame({ type: 'error', code: String(code), message, param: null, sequence_number: 99 }, { event: 'error' }),
  ];
}

const CUTS: ReadonlyMap<string, string> = new Map([
  ['length', 'max_output_tokens'],
  ['content_filter', 'content_filter'],
]);

type Begin = (item: Fields) => Fields;
type End = (item: Fields) => void;
type Tell = (type: string, fields: Fields) => void;

function think({ id, thinking }: WireAnswer, begin: Begin, end: End, tell: Tell): void {
  const item = { id: `rs_${id}`, type: 'reasoning', summary: [] };
  const place = { ...begin(item), summary_index: 0 };
  tell('response.reasoning_summary_part.added', { ...place, part: { type: 'summary_text', text: '' } });
  for (const delta of thinking) tell('response.reasoning_summary_text.delta', { ...place, delta });
  const text = thinking.join('');
  tell('response.reasoning_summary_text.done', { ...place, text });
  tell('response.reasoning_summary_part.done', { ...place, part: { type: 'summary_text', text } });
  end({ ...item, summary: [{ type: 'summary_text', text }], encrypted_content: 'gAAAA+mill/water==' });
}

function say(answer: WireAnswer, begin: Begin, end: End, tell: Tell): void {
  const item = { id: `msg_${answer.id}`, type: 'message', role: 'assistant' };
  const place = { ...begin({ ...item, status: 'in_progress', content: [] }), content_index: 0 };
  tell('response.content_part.added', { ...place, part: { type: 'output_text', text: '', annotations: [] } });
  for (const delta of answer.pieces) {
    tell('response.output_text.delta', { ...place, delta, logprobs: [], obfuscation: 'x9'.repeat(delta.length % 3) });
  }
  const text = textOf(answer);
  const part = { type: 'output_text', text, annotations: [] };
  tell('response.output_text.done', { ...place, text, logprobs: [] });
  tell('response.content_part.done', { ...place, part });
  end({ ...item, status: 'completed', content: [part] });
}

function call(tool: NonNullable<WireAnswer['toolCall']>, id: string, begin: Begin, end: End, tell: Tell): void {
  const item = { id: `fc_${id}`, type: 'function_call', call_id: tool.id, name: tool.name };
  const place = begin({ ...item, status: 'in_progress', arguments: '' });
  for (const delta of tool.argumentPieces) tell('response.function_call_arguments.delta', { ...place, delta });
  const whole = tool.argumentPieces.join('');
  tell('response.function_call_arguments.done', { ...place, arguments: whole });
  end({ ...item, status: 'completed', arguments: whole });
}

function responseOf({ id, model, createdAt }: WireAnswer, state: Fields): object {
  const created_at = Math.floor(createdAt / 1000);
  return { id, object: 'response', created_at, model, error: null, incomplete_details: null, ...state };
}
