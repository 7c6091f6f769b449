export { checkTemplates } from './checkTemplates.js';
export type { AnswerEnd, Exchange, ReceivedRequest, ResponseHead } from './exchange.js';
export type { RequestPattern } from './provider/desk.js';
export type { ProviderName } from './providerName.js';
export type {
  Fault,
  FaultPlace,
  FramePace,
  Pace,
  ScriptedAnswer,
  ScriptedError,
  ScriptedToolCall,
  ScriptedUsage,
} from './scriptedAnswer.js';
export { reopen } from './reopen.js';
export { startProviderServer } from './startProviderServer.js';
export type {
  ProviderBaseURLs,
  ProviderRequest,
  ProviderServer,
  StartProviderServerOptions,
} from './startProviderServer.js';
export { startServer } from './startServer.js';
export type { StartServerOptions, TestServer } from './startServer.js';
export type { ChatFinishReason } from './wire/wireAnswer.js';

export { fakeCall, type FakeCallOptions } from './fakeCall.js';
