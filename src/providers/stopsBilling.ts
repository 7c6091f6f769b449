/**
 * Infron's documentation on cancelling a stream, in its two lists: upstreams that stop work and bill when the connection is
 * closed, and upstreams that finish the answer and bill all of it. Names as they are compared: letters and digits only.
 */
const STOPS: ReadonlySet<string> = new Set([
  ...['openai', 'azure', 'anthropic', 'fireworks', 'mancer', 'recursal', 'anyscale', 'lepton', 'octoai', 'novita'],
  ...['deepinfra', 'together', 'cohere', 'hyperbolic', 'infermatic', 'avian', 'xai', 'cloudflare', 'sfcompute'],
  ...['nineteen', 'liquid', 'friendli', 'chutes', 'deepseek'],
]);
const CONTINUES: ReadonlySet<string> = new Set([
  ...['awsbedrock', 'groq', 'modal', 'google', 'googleaistudio', 'minimax', 'huggingface', 'replicate', 'perplexity'],
  ...['mistral', 'ai21', 'featherless', 'lynn', 'lambda', 'reflection', 'sambanova', 'inflection', 'zerooneai'],
  ...['aionlabs', 'alibaba', 'nebius', 'kluster', 'targon', 'inferencenet'],
]);

/** Other spellings of listed names, as routers write them; chosen. */
const ALIASES: ReadonlyMap<string, string> = new Map([
  ['amazonbedrock', 'awsbedrock'],
  ['bedrock', 'awsbedrock'],
  ['azureopenai', 'azure'],
  ['googlevertex', 'google'],
  ['mistralai', 'mistral'],
  ['togetherai', 'together'],
  ['fireworksai', 'fireworks'],
  ['novitaai', 'novita'],
  ['01ai', 'zerooneai'],
]);

/**
 * Whether an upstream of Infron stops working, and billing, when its reader leaves; undefined for one that Infron's
 * documentation does not name. Case, spaces and punctuation are ignored.
 *
 * @example
 * ```ts
 * stopsBilling('DeepSeek'); // true: closing the connection ends the bill
 * stopsBilling('Google AI Studio'); // false: the whole answer is billed
 * stopsBilling('somebody'); // undefined
 * ```
 * @public
 */
export function stopsBilling(upstream: string): boolean | undefined {
  const plain = upstream.toLowerCase().replace(/[^a-z0-9]/g, '');
  const name = ALIASES.get(plain) ?? plain;
  if (STOPS.has(name)) return true;
  return CONTINUES.has(name) ? false : undefined;
}
