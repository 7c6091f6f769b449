'use client';

export type { StreamSource } from './streamRunner.js';
export {
  type ChatAnswer,
  type ChatEntry,
  type ChatQuestion,
  useChat,
  type UseChatOptions,
  type UseChatResult,
} from './useChat.js';
export { type StartWhen, useStream, type UseStreamOptions, type UseStreamResult } from './useStream.js';
