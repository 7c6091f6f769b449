import { InvalidArgumentError } from 'commander';
import { z } from 'zod';
import { FINISH_REASONS } from '../internal/finishReasons.js';
import { duration } from './parsers.js';
import { PROVIDER_NAMES } from './providerCall.js';

/** What a config file may say. Strict: a field that nobody knows is a slip of the finger. */

const text = z.string().min(1, 'It must not be empty');
const count = z.int().min(1);

/** A variable's name; what else stands there may be a key, and is not quoted. */
const keyEnv = z.string().regex(/^[A-Za-z_]\w*$/, 'It takes the name of an environment variable, not a key');

const baseUrl = z.string().superRefine((value, issues) => {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    issues.addIssue('It must be an absolute URL, such as https://api.example.com/v1');
  } else if (url.username !== '' || url.password !== '') {
    issues.addIssue('It must not hold credentials; name the variable of the key with keyEnv');
  }
});

const time = z.union([z.string(), z.number()]).transform((value, issues) => {
  try {
    return duration(String(value));
  } catch (error) {
    if (!(error instanceof InvalidArgumentError)) throw error;
    issues.addIssue(error.message);
    return z.NEVER;
  }
});

/** How a provider is asked, where neither flag nor job says it. */
const asking = {
  model: text.optional(),
  mode: text.optional(),
  system: text.optional(),
  maxOutputTokens: count.optional(),
  temperature: z.number().min(0).optional(),
  enableThinking: z.boolean().optional(),
  region: text.optional(),
  service: text.optional(),
  app: text.optional(),
  agent: text.optional(),
};

const provider = z.strictObject({
  use: z.enum(PROVIDER_NAMES).optional(),
  baseUrl: baseUrl.optional(),
  keyEnv: keyEnv.optional(),
  key: text.optional(),
  ...asking,
});

const run = z.strictObject({
  output: text.optional(),
  format: z.enum(['text', 'json', 'events']).optional(),
  footer: z.boolean().optional(),
  publishOn: z.array(z.enum(FINISH_REASONS)).min(1).optional(),
  ifExists: z.enum(['error', 'skip', 'overwrite']).optional(),
  fsync: z.boolean().optional(),
  concurrency: count.optional(),
  perHost: count.optional(),
  retries: z.int().min(0).optional(),
  timeoutHeaders: time.optional(),
  timeoutFirstContent: time.optional(),
  timeoutContentIdle: time.optional(),
  timeoutWireIdle: time.optional(),
  timeoutAttempt: time.optional(),
  maxCost: z.number().positive().optional(),
  maxTokens: count.optional(),
});

export const configSchema = z.strictObject({
  providers: z.record(z.string().regex(/^\w[\w.-]*$/, 'It must be a plain word'), provider).optional(),
  defaults: z.strictObject({ provider: text.optional(), ...asking }).optional(),
  run: run.optional(),
  allowKeysInFile: z.boolean().optional(),
});

/** The fields that each place knows, for suggestions. */
export const KNOWN_FIELDS = {
  top: Object.keys(configSchema.shape),
  providers: Object.keys(provider.shape),
  defaults: ['provider', ...Object.keys(asking)],
  run: Object.keys(run.shape),
} as const;

/** A provider's entry. */
export type ProviderSettings = z.infer<typeof provider>;
export type AskingDefaults = z.infer<typeof configSchema>['defaults'];
export type RunSettings = z.infer<typeof run>;
