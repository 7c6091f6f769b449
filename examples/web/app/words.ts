import { ProviderError, type StreamPhase, type StreamState } from 'millrace';
import { RECONNECTING } from '../server/retryWords.js';

/** What is said of a stream beside its text. */
export interface Notice {
  /** `wait` passes by itself, `bad` is an end that nobody wanted, `calm` one that somebody did. */
  readonly tone: 'wait' | 'bad' | 'calm';
  readonly text: string;
}

/** Whether something may still come. */
export function isBusy(phase: StreamPhase): boolean {
  return phase === 'connecting' || phase === 'waiting' || phase === 'streaming';
}

export function isReconnecting({ phase, status }: Pick<StreamState, 'phase' | 'status'>): boolean {
  return isBusy(phase) && status === RECONNECTING;
}

export function noticeOf(state: Pick<StreamState, 'phase' | 'status' | 'error' | 'billing'>): Notice | undefined {
  const { phase, error, billing } = state;
  if (isReconnecting(state)) return { tone: 'wait', text: 'Connection lost, going on …' };
  switch (phase) {
    case 'failed':
      return { tone: 'bad', text: `${messageOf(error)}. What had come is kept.` };
    case 'interrupted':
      return { tone: 'bad', text: 'The connection was lost. What had come is kept.' };
    case 'stopped':
      // The work may go on without its reader, and its bill with it.
      return { tone: 'calm', text: billing === 'ended' ? 'You stopped it here.' : 'You stopped reading here.' };
    default:
      return undefined;
  }
}

/** What became of a stream, in one small line. */
export function factsOf({ phase, receipt, usage, cost, warnings }: StreamState): readonly string[] {
  if (receipt === undefined) return [];
  const { firstContentMs, totalMs } = receipt.timings;
  const { inputTokens, outputTokens, provenance } = usage ?? {};
  const facts = [
    phase,
    warnings.some(({ code }) => code === 'connection-lost') ? 'went on after a lost connection' : undefined,
    firstContentMs === undefined ? undefined : `first words after ${seconds(firstContentMs)}`,
    `${seconds(totalMs)} in all`,
    outputTokens === undefined
      ? undefined
      : `${provenance === 'partial' ? 'at least ' : ''}${count(inputTokens)} tokens in, ${count(outputTokens)} out`,
    cost?.total === undefined ? undefined : `${cost.total.toFixed(5)} ${cost.currency ?? ''}`.trim(),
  ];
  return facts.filter((fact) => fact !== undefined);
}

/** What the server says of a failure, without what the library says of the server. */
function messageOf(error: unknown): string {
  if (error instanceof ProviderError && error.providerMessage !== undefined) return error.providerMessage;
  return error instanceof Error ? error.message : String(error);
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

function count(tokens = 0): string {
  return tokens.toLocaleString('en');
}
