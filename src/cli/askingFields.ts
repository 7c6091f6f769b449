import { PROVIDER_NAMES, type ProviderName } from './providerCall.js';

/** A provider by its name, whatever its case. */
export function knownProvider(name: string): ProviderName | undefined {
  return PROVIDER_NAMES.find((known) => known.toLowerCase() === name.toLowerCase());
}

/** What applyConfig fills in: the names in the file and those of the options. */
export const ASKING = [
  ['model', 'model'],
  ['mode', 'mode'],
  ['system', 'system'],
  ['maxOutputTokens', 'maxTokens'],
  ['temperature', 'temperature'],
  ['enableThinking', 'enableThinking'],
  ['region', 'region'],
  ['service', 'service'],
  ['app', 'app'],
  ['agent', 'agent'],
] as const;
