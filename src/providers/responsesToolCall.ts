import type { Emit } from '../protocol/dialect.js';
import type { WarningEvent } from '../types.js';
import { isBlank } from './chatExtras.js';
import type { ItemFields } from './responsesFrame.js';

/** What may be told of a call whose arguments are not. */
export interface CallFacts {
  readonly id: string;
  readonly name: string;
  readonly chars: number;
}

/** Arguments as text; some servers send them whole, as an object. */
export function argumentsTextOf(value: unknown): string {
  if (value === undefined || value === null) return '';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

export function parseArguments(text: string): { readonly value: unknown } | undefined {
  if (text.trim() === '') return { value: {} };
  try {
    return { value: JSON.parse(text) as unknown };
  } catch {
    return undefined; // the caller knows whether that is a fault
  }
}

export function cutCall(facts: CallFacts, because: string): WarningEvent {
  const { id, name, chars } = facts;
  const message = `Tool call ${id} (${name}), ${String(chars)} characters, is not whole: ${because}`;
  return { type: 'warning', code: 'tool-call-incomplete', message, detail: facts };
}

/** A call that the provider ran, and what came of it; where its arguments are no JSON the raw item tells it. */
export function tellProvidersCall(fields: ItemFields, emit: Emit): void {
  const { id, name, status, output, error } = fields;
  const text = argumentsTextOf(fields.arguments);
  const parsed = parseArguments(text);
  if (!id || !name || parsed === undefined || status === 'incomplete') return;
  const call = { index: 0, id, name };
  emit({ type: 'tool-call', ...call, arguments: parsed.value, argumentsText: text, providerExecuted: true });
  if (!isBlank(error)) emit({ type: 'tool-result', ...call, result: error, isError: true });
  else if (output !== undefined && output !== null) emit({ type: 'tool-result', ...call, result: output });
}
