import type { ProviderName } from '../providerName.js';
import type { ScriptedAnswer, ScriptedUsage } from '../scriptedAnswer.js';
import { SAMPLE_LOGS, SAMPLE_TEXTS, SAMPLE_THINKING } from '../wire/sampleAnswers.js';
import { splitIntoPieces } from '../wire/splitIntoPieces.js';
import type { WireAnswer, WireUsage } from '../wire/wireAnswer.js';

/** A request's body as an object; empty where it was something else. */
export type RequestBody = Readonly<Record<string, unknown>>;

/** What an answer is composed for. */
export interface Asked {
  readonly provider: ProviderName;
  readonly body: RequestBody;
  readonly id: string;
  readonly toolCallId: string;
  readonly createdAt: number;
}

/** What is said to a request: the script first, then what the request asks for, then the provider's sample. */
export function composeAnswer(asked: Asked, script: ScriptedAnswer): WireAnswer {
  const { provider, body } = asked;
  const thinking = script.thinking ?? (asksForThinking(provider, body) ? SAMPLE_THINKING : '');
  const thoughts = typeof thinking === 'string' ? splitIntoPieces(thinking) : thinking;
  const pieces = script.pieces ?? splitIntoPieces(script.text ?? (script.toolCall ? '' : SAMPLE_TEXTS[provider]));
  const { toolCall } = script;
  return {
    id: asked.id,
    model: modelOf(body),
    createdAt: asked.createdAt,
    thinking: thoughts,
    pieces,
    toolCall: toolCall && {
      id: toolCall.id ?? asked.toolCallId,
      name: toolCall.name,
      argumentPieces: splitIntoPieces(JSON.stringify(toolCall.arguments ?? {})),
    },
    finish: script.finish ?? (toolCall === undefined ? 'stop' : 'tool_calls'),
    usage: usageOf(asked, script.usage, thoughts.length, pieces.length),
    logs: script.logs ?? SAMPLE_LOGS,
    output: script.output,
  };
}

function usageOf(
  { provider, body }: Asked,
  usage: ScriptedUsage | 'none' | undefined,
  thoughts: number,
  pieces: number,
): WireUsage | undefined {
  if (usage === 'none') return undefined;
  if (usage !== undefined) return { ...usage, reasoningTokens: usage.reasoningTokens ?? 0 };
  if (!asksForUsage(provider, body)) return undefined;
  // About four characters make a token; what matters here is that the same request gives the same count.
  const inputTokens = Math.ceil(JSON.stringify(body).length / 4);
  return { inputTokens, outputTokens: thoughts + pieces, reasoningTokens: thoughts };
}

function modelOf(body: RequestBody): string {
  for (const key of ['model', 'modelName', 'model_name', 'app', 'agent']) {
    const value = body[key];
    if (typeof value === 'string' && value !== '') return value;
  }
  return 'millwheel-1';
}

function asksForThinking(provider: ProviderName, body: RequestBody): boolean {
  switch (provider) {
    case 'infron':
      return isObject(body['reasoning']) && body['reasoning']['effort'] !== 'none';
    case 'gateway':
      return isObject(body['parameters']) && body['parameters']['enable_thinking'] === true;
    case 'polargrid':
      return body['enable_thinking'] === true;
    case 'inferencesh':
      return isObject(body['input']) && (body['input']['reasoning'] ?? body['input']['reasoning_effort']) !== undefined;
    case 'openai':
      return isObject(body['reasoning']);
    case 'anthropic':
      return isObject(body['thinking']) && body['thinking']['type'] !== 'disabled';
    case 'gemini': {
      const config = isObject(body['generationConfig']) ? body['generationConfig']['thinkingConfig'] : undefined;
      return isObject(config) && config['includeThoughts'] === true;
    }
    case 'ollama':
      return body['think'] !== undefined && body['think'] !== false;
    case 'infernet':
      return false;
  }
}

function asksForUsage(provider: ProviderName, body: RequestBody): boolean {
  const { stream_options: streaming, usage, stream } = body;
  switch (provider) {
    case 'infron':
    case 'polargrid':
    case 'openai':
      return (
        stream !== true ||
        body['messages'] === undefined ||
        (isObject(streaming) && streaming['include_usage'] === true) ||
        (provider === 'infron' && isObject(usage) && usage['include'] === true)
      );
    default:
      return true;
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}
