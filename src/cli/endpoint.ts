import type { Call } from '../index.js';
import { type CallOptions, providerCall, type ProviderName, PROVIDERS } from './providerCall.js';

/**
 * A call on a provider, to be looked at and not to be sent: what it needs and is not given is made up.
 * @throws UsageError where the provider has no usual place and none is given
 */
export function sampleCall(options: CallOptions): Call {
  const { takes } = PROVIDERS[options.provider];
  return providerCall({
    ...(takes.includes('model') && { model: 'model' }),
    ...(takes.includes('service') && { service: 'service' }),
    ...(takes.includes('app') && options.agent === undefined && { app: 'namespace/name' }),
    ...options,
    apiKey: 'not-sent',
    prompt: 'not sent',
  });
}

/**
 * Where a provider's first request goes.
 * @throws as `sampleCall`
 */
export function endpointOf(options: CallOptions): URL {
  const call = sampleCall(options);
  return new URL((call.submit ?? call.stream('')).url);
}

/** The origin of a provider's usual place; none where every customer has one of their own. */
export function usualOrigin(provider: ProviderName): string | undefined {
  try {
    return endpointOf({ provider }).origin;
  } catch {
    return undefined; // it needs a base URL
  }
}

/** True for a host that is this machine. */
export function isLoopback({ hostname }: URL): boolean {
  return (
    hostname === 'localhost' ||
    hostname.endsWith('.localhost') ||
    hostname === '[::1]' ||
    /^127(?:\.\d+){3}$/.test(hostname)
  );
}
