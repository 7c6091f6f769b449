export { agUI, type AGUI, type AGUIOptions, type AGUIRequest } from './agUI.js';
export { agUIDialect, type AGUIDialectOptions } from './agUIDialect.js';
export type { AGUIMessage, AGUIToolCall } from './agUITurn.js';
export { aiSDK, type AISDK, type AISDKOptions, type AISDKRequest } from './aiSDK.js';
export { aiSDKDialect, type AISDKDialectOptions } from './aiSDKDialect.js';
export type { AISDKPart, AISDKTurn } from './aiSDKTurn.js';
export { anthropic, type Anthropic, type AnthropicOptions } from './anthropic.js';
export { anthropicDialect, type AnthropicDialectOptions } from './anthropicDialect.js';
export type { AnthropicMessage, AnthropicRequest, AnthropicVersion } from './anthropicRequest.js';
export type { AnthropicBlock, AnthropicTurn } from './anthropicTurn.js';
export type { ChatContinuation, CompletionRequest } from './chatCalls.js';
export { chatDialect, type ChatDialectOptions } from './chatDialect.js';
export type { ChatPreset } from './chatPresets.js';
export type { ChatContentPart, ChatMessage, ChatRequest, ChatToolCall } from './chatRequest.js';
export type { ChatTurn, ChatTurnThinking } from './chatTurn.js';
export { cohere, type Cohere, type CohereMessage, type CohereOptions, type CohereRequest } from './cohere.js';
export { cohereDialect, type CohereDialectOptions } from './cohereDialect.js';
export type { CoherePart, CohereTurn } from './cohereTurn.js';
export { detectDialect, type Detected } from './detectDialect.js';
export { gateway, type Gateway, type GatewayInput, type GatewayOptions, type GatewayRequest } from './gateway.js';
export { gatewayDialect, type GatewayDialectOptions } from './gatewayDialect.js';
export { gatewayGenerateDialect } from './gatewayGenerateDialect.js';
export { gemini, type Gemini, type GeminiContent, type GeminiOptions, type GeminiRequest } from './gemini.js';
export { geminiDialect, type GeminiDialectOptions } from './geminiDialect.js';
export type { GeminiPart, GeminiTurn } from './geminiTurn.js';
export {
  inferencesh,
  type Inferencesh,
  type InferenceshAgentInput,
  type InferenceshAgentRequest,
  type InferenceshCalls,
  type InferenceshOptions,
  type InferenceshRunRequest,
} from './inferencesh.js';
export { inferenceshAgentDialect, type InferenceshAgentDialectOptions } from './inferenceshAgentDialect.js';
export { inferenceshTaskDialect, type InferenceshTaskDialectOptions } from './inferenceshTaskDialect.js';
export {
  infernet,
  type Infernet,
  type InfernetCalls,
  type InfernetMessage,
  type InfernetNativeRequest,
  type InfernetOptions,
  type InfernetRequest,
} from './infernet.js';
export { infernetJobsDialect, type InfernetJobsDialectOptions } from './infernetJobsDialect.js';
export { infernetNativeDialect, type InfernetNativeDialectOptions } from './infernetNativeDialect.js';
export { infron, type Infron, type InfronChatRequest, type InfronOptions, type InfronRouting } from './infron.js';
export { millrace } from './millraceDialect.js';
export {
  ollama,
  type Ollama,
  type OllamaChatRequest,
  type OllamaGenerateRequest,
  type OllamaMessage,
  type OllamaOptions,
  type OllamaSettings,
} from './ollama.js';
export { ollamaDialect, type OllamaDialectOptions, type OllamaToolCall, type OllamaTurn } from './ollamaDialect.js';
export { openai, type OpenAI, type OpenAIOptions } from './openai.js';
export { openaiCompatible, type OpenAICompatible, type OpenAICompatibleOptions } from './openaiCompatible.js';
export {
  polargrid,
  type Polargrid,
  type PolargridChatRequest,
  type PolargridCompletionRequest,
  type PolargridOptions,
  type PolargridSampling,
} from './polargrid.js';
export {
  type CallDefinition,
  type CallParts,
  type Calls,
  provider,
  type Provider,
  type ProviderDefinition,
} from './provider.js';
export type { ProviderRequest } from './providerRequest.js';
export {
  replicate,
  type Replicate,
  type ReplicateOptions,
  type ReplicatePrediction,
  type ReplicateRequest,
} from './replicate.js';
export { replicateDialect, type ReplicateDialectOptions } from './replicateDialect.js';
export type { AttachResponseOptions, ResponsesCalls } from './responsesCalls.js';
export { responsesDialect, type ResponsesDialectOptions } from './responsesDialect.js';
export type { ResponsesRequest } from './responsesRequest.js';
export type { ResponsesItem, ResponsesTurn } from './responsesTurn.js';
export { stopsBilling } from './stopsBilling.js';
export type { APIKey, ProviderOptions } from './support.js';
