import { UsageError } from './exitCodes.js';
import { type ProviderName, PROVIDERS } from './providerCall.js';

/** Whose key is looked for. */
export interface KeyQuestion {
  readonly provider: ProviderName;
  readonly mode?: string | undefined;
  /** The variable that was named for it, in place of the usual one. */
  readonly keyEnv?: string | undefined;
  /** The key itself, where a config file may hold it. */
  readonly apiKey?: string | undefined;
}

/**
 * The key's value, never its name: a variable that is not there is named only where its name cannot be a key itself.
 * @returns undefined where the provider may be asked without
 * @throws UsageError where a key is needed and not there
 */
export function readKey(
  { provider, mode, keyEnv, apiKey }: KeyQuestion,
  env: Readonly<Record<string, string | undefined>>,
): string | undefined {
  if (keyEnv === undefined && apiKey !== undefined) return apiKey;
  const { keyEnv: usual, keyless = [], modes } = PROVIDERS[provider];
  const name = keyEnv ?? usual;
  const key = name === undefined ? undefined : env[name];
  if (key !== undefined && key !== '') return key;
  if (keyEnv === undefined) {
    if (name === undefined || keyless.includes(mode ?? modes[0] ?? '')) return undefined;
    throw new UsageError(`${provider} needs a key: set ${name}, or name another environment variable with --key-env`);
  }
  const what = /^[A-Z][A-Z0-9_]*$/.test(keyEnv)
    ? `${keyEnv}, named for the key,`
    : 'the variable that is named for the key';
  throw new UsageError(`${what} is not set; --key-env takes the name of an environment variable, not a key`);
}
