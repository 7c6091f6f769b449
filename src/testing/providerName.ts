/** The providers that the server imitates. @public */
export type ProviderName =
  'infernet' | 'infron' | 'inferencesh' | 'gateway' | 'polargrid' | 'openai' | 'anthropic' | 'gemini' | 'ollama';

/** A provider's formats differ by the place they are asked at: these are the places. */
export type Surface = 'infernetJobs' | 'infernetNative' | 'infernetShim' | Exclude<ProviderName, 'infernet'>;
