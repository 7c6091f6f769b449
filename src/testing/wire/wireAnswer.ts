/** What an answer says, before any dialect puts it into frames. */
export interface WireAnswer {
  /** Of the answer, the job or the task, as the wire shows it. */
  readonly id: string;
  readonly model: string;
  /** Epoch milliseconds. */
  readonly createdAt: number;
  readonly thinking: readonly string[];
  readonly pieces: readonly string[];
  readonly toolCall?: WireToolCall | undefined;
  readonly finish: ChatFinishReason;
  /** Absent where no usage is to be sent. */
  readonly usage?: WireUsage | undefined;
  readonly logs: readonly string[];
  /** The result of a task; `undefined` for the text itself. */
  readonly output?: unknown;
}

/** A tool call whose arguments arrive in pieces of JSON text. */
export interface WireToolCall {
  readonly id: string;
  readonly name: string;
  readonly argumentPieces: readonly string[];
}

/** The finish reasons of the chat family; other dialects map them to theirs. */
export type ChatFinishReason = 'stop' | 'length' | 'tool_calls' | 'content_filter';

/** Token counts as whole numbers. */
export interface WireUsage {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly reasoningTokens: number;
}

/** A failure in the words of a provider. */
export interface WireError {
  readonly code: string | number;
  readonly message: string;
}

/** The frames of one answer: their texts joined are the body, byte for byte. */
export interface WireStream {
  readonly frames: readonly string[];
  /** The index of the frame that proves the answer whole: a stream cut before its end is interrupted, after it complete. */
  readonly provenFrame: number;
}

/** The whole text of an answer. */
export function textOf(answer: WireAnswer): string {
  return answer.pieces.join('');
}

/** Prices of the invented models: 0.075 and 0.3 of a currency unit per million tokens. */
export function costOf(usage: WireUsage): { readonly input: number; readonly output: number; readonly total: number } {
  const cents = (amount: number): number => Number(amount.toFixed(12));
  const input = cents(usage.inputTokens * 0.075e-6);
  const output = cents(usage.outputTokens * 0.3e-6);
  return { input, output, total: cents(input + output) };
}

/** Usage under the names of the chat family. */
export function chatUsage(usage: WireUsage): {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
} {
  return {
    prompt_tokens: usage.inputTokens,
    completion_tokens: usage.outputTokens,
    total_tokens: usage.inputTokens + usage.outputTokens,
  };
}
