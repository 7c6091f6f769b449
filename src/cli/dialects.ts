import type { Dialect } from '../index.js';
import {
  agUIDialect,
  aiSDKDialect,
  anthropicDialect,
  chatDialect,
  cohereDialect,
  gatewayDialect,
  gatewayGenerateDialect,
  geminiDialect,
  inferenceshAgentDialect,
  inferenceshTaskDialect,
  infernetJobsDialect,
  infernetNativeDialect,
  millrace,
  ollamaDialect,
  replicateDialect,
  responsesDialect,
} from '../providers/index.js';
import { sampleCall } from './endpoint.js';
import { PROVIDER_NAMES, type ProviderName } from './providerCall.js';

/** A dialect that `replay` decodes, and whose captures it is for. */
export interface NamedDialect {
  readonly make: () => Dialect;
  readonly about: string;
}

/** Every dialect, by the name that it has in messages. */
export const DIALECTS: ReadonlyMap<string, NamedDialect> = new Map<string, NamedDialect>([
  [
    'chat',
    { make: chatDialect, about: 'OpenAI’s chat completions and their copies: PolarGrid, Infron, OpenRouter, vLLM …' },
  ],
  ['responses', { make: responsesDialect, about: 'OpenAI’s Responses' }],
  ['anthropic', { make: anthropicDialect, about: 'Anthropic’s messages' }],
  ['gemini', { make: geminiDialect, about: 'Google’s generateContent' }],
  ['ollama', { make: ollamaDialect, about: 'Ollama’s own chat and generate' }],
  ['cohere', { make: cohereDialect, about: 'Cohere, version 2' }],
  ['replicate', { make: replicateDialect, about: 'Replicate’s predictions' }],
  ['aiSDK', { make: aiSDKDialect, about: 'the AI SDK’s UI message stream' }],
  ['agUI', { make: agUIDialect, about: 'AG-UI' }],
  ['gateway', { make: gatewayDialect, about: 'the gateway’s chat' }],
  ['gateway-generate', { make: gatewayGenerateDialect, about: 'the gateway’s single answers' }],
  ['infernet-jobs', { make: infernetJobsDialect, about: 'Infernet’s jobs' }],
  ['infernet-native', { make: infernetNativeDialect, about: 'Infernet’s native chat' }],
  ['inferencesh-task', { make: inferenceshTaskDialect, about: 'inference.sh, a task' }],
  ['inferencesh-agent', { make: inferenceshAgentDialect, about: 'inference.sh, an agent’s chat' }],
  ['millrace', { make: () => millrace, about: 'millrace’s own format' }],
]);

/** Providers that speak `chat` with ways of their own, such as thinking inside of the text. */
export const CHAT_PROVIDERS: readonly string[] = PROVIDER_NAMES.filter(
  (name) => !DIALECTS.has(name) && dialectOf(name).name === name,
);

/** What `--dialect` takes: the name of a dialect, or of a provider that speaks `chat`. */
export const DIALECT_NAMES: readonly string[] = [...DIALECTS.keys(), ...CHAT_PROVIDERS];

/** @returns undefined for a name that is neither */
export function dialectNamed(name: string): Dialect | undefined {
  const provider = PROVIDER_NAMES.find((each) => each === name && CHAT_PROVIDERS.includes(each));
  return DIALECTS.get(name)?.make() ?? (provider && dialectOf(provider));
}

function dialectOf(provider: ProviderName): Dialect {
  return sampleCall({ provider, baseUrl: 'http://localhost/v1' }).dialect;
}
