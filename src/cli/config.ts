import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { basename, extname, resolve } from 'node:path';
import process from 'node:process';
import { ASKING, knownProvider } from './askingFields.js';
import type { AskingDefaults, ProviderSettings, RunSettings } from './configSchema.js';
import type { CLIContext } from './context.js';
import { isLoopback, usualOrigin } from './endpoint.js';
import { UsageError } from './exitCodes.js';
import { type CallOptions, PROVIDER_NAMES, type ProviderName, PROVIDERS } from './providerCall.js';
import { suggestion } from './suggestion.js';

/** What a config file says, checked. */
export interface CLIConfig {
  /** Its path; undefined where there is none. */
  readonly file: string | undefined;
  /** True where nobody named the file: it lay in the working folder. */
  readonly isFound: boolean;
  /** Settings by the name that is asked for: a provider's, or one of the file's own. */
  readonly providers: ReadonlyMap<string, ProviderSettings>;
  readonly defaults: NonNullable<AskingDefaults>;
  readonly run: RunSettings;
  /** Whether the environment has a value under a name. */
  readonly hasVariable: (name: string) => boolean;
}

const FILE_NAMES = ['millrace.config.json', 'millrace.config.yaml', 'millrace.config.yml'];

/** A config file is written by hand. */
const MAX_BYTES = 1_048_576;

/**
 * Reads the config file: the one that is named by `--config`, else by `MILLRACE_CONFIG`, else one in the working folder.
 * @param file - what `--config` names
 * @returns what it says; without a file, that nothing is said
 * @throws UsageError for a file that is named and not there, two in the working folder, and for every mistake in one, with
 * its line. No value is quoted: it may be a key.
 */
export async function loadConfig(
  { env }: Pick<CLIContext, 'env'>,
  file: string | undefined,
  cwd: string = process.cwd(),
): Promise<CLIConfig> {
  const variable = env['MILLRACE_CONFIG'];
  const named = file ?? (variable === '' ? undefined : variable);
  const opened = named === undefined ? await openFound(cwd) : await openNamed(resolve(cwd, named), named);
  const hasVariable = (name: string): boolean => (env[name] ?? '') !== '';
  if (opened === undefined) {
    return { file: undefined, isFound: false, providers: new Map(), defaults: {}, run: {}, hasVariable };
  }
  const { path, shown, handle } = opened;
  try {
    const { mode, size } = await handle.stat();
    if (size > MAX_BYTES)
      throw new UsageError(`${shown} has ${String(size)} bytes; a config file has at most ${String(MAX_BYTES)}`);
    const source = await handle.readFile('utf8');
    const { readConfig } = await import('./readConfig.js'); // the reader of YAML is for this alone
    const said = readConfig(source, shown, (process.platform === 'win32' ? 0 : mode) & 0o077);
    return { file: path, isFound: named === undefined, hasVariable, ...said };
  } catch (error) {
    if (error instanceof UsageError || !isSystemError(error)) throw error;
    throw new UsageError(`${shown} cannot be read: ${error.code ?? 'unknown'}`);
  } finally {
    await handle.close();
  }
}

interface Opened {
  readonly path: string;
  /** Its name in messages. */
  readonly shown: string;
  readonly handle: FileHandle;
}

async function openNamed(path: string, shown: string): Promise<Opened> {
  if (!/^\.(json|ya?ml)$/i.test(extname(path))) {
    throw new UsageError(`a config file ends in .json, .yaml or .yml; ${shown} does not`);
  }
  try {
    return { path, shown, handle: await open(path, constants.O_RDONLY) };
  } catch (error) {
    const why = isSystemError(error) && error.code === 'ENOENT' ? 'it is not there' : codeOf(error);
    throw new UsageError(`the config file ${shown} cannot be read: ${why}`);
  }
}

async function openFound(cwd: string): Promise<Opened | undefined> {
  const found: Opened[] = [];
  for (const shown of FILE_NAMES) {
    const path = resolve(cwd, shown);
    try {
      found.push({ path, shown, handle: await open(path, constants.O_RDONLY) });
    } catch (error) {
      if (isSystemError(error) && error.code === 'ENOENT') continue;
      await Promise.all(found.map(({ handle }) => handle.close()));
      throw new UsageError(`the config file ${shown} cannot be read: ${codeOf(error)}`);
    }
  }
  const [first, second] = found;
  if (first === undefined || second === undefined) return first;
  await Promise.all(found.map(({ handle }) => handle.close()));
  throw new UsageError(`there are both ${first.shown} and ${second.shown}; keep one, or name one with --config`);
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'code' in error;
}

function codeOf(error: unknown): string {
  return isSystemError(error) ? String(error.code) : 'unknown';
}

/** What belongs to one provider alone: defaults for another provider are none for this one. */
const OF_ONE_PROVIDER: ReadonlySet<string> = new Set(['model', 'mode', 'region', 'service', 'app', 'agent']);

/** What the usual request around a prompt is made of: a request of one's own says it itself. */
const OF_A_PROMPT: ReadonlySet<string> = new Set(['system', 'maxOutputTokens', 'temperature', 'enableThinking']);

/** Options as flags and jobs give them: the provider may be a name of the config file's own, or left to it. */
export type Askable = Omit<CallOptions, 'provider'> & {
  readonly provider?: string | undefined;
  readonly keyEnv?: string | undefined;
};

/** Options that name a provider; where the file itself holds its key, that too. */
export type Applied<Options extends Askable> = CallOptions &
  Omit<Options, keyof Askable> & {
    readonly keyEnv?: string;
    /** From the file, where it may hold keys. Only used where no `keyEnv` is given. */
    readonly apiKey?: string;
  };

/**
 * Fills in what flags and job left open: from the entry of the provider that is asked, then from the defaults. What that provider, or
 * the way it is asked, has no use for is left out.
 * @param asks - `request` where the provider's own request is given, into which no system prompt and no limits are put
 * @throws UsageError for a provider that nobody knows or names; and where a file that nobody named would send a key to a host that is
 * neither the provider's own nor this machine
 */
export function applyConfig<Options extends Askable>(
  options: Options,
  config: CLIConfig,
  asks: 'prompt' | 'request' = 'prompt',
): Applied<Options> {
  const { name, provider, settings } = resolveProvider(options.provider, config);
  const { defaults } = config;
  const isUsual = defaults.provider === undefined || defaults.provider.toLowerCase() === name.toLowerCase();
  const filled: Record<string, unknown> = Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  );
  for (const [field, option] of ASKING) {
    const usual = isUsual || !OF_ONE_PROVIDER.has(field) ? defaults[field] : undefined;
    const value = settings[field] ?? usual;
    if (asks === 'request' && OF_A_PROMPT.has(field)) continue;
    if (
      filled[option] === undefined &&
      value !== undefined &&
      value !== false &&
      isOfUse(provider, option, value, filled)
    ) {
      filled[option] = value;
    }
  }
  if (filled['baseUrl'] === undefined && settings.baseUrl !== undefined) {
    requireTrust(config, name, provider, settings, filled['keyEnv']);
    filled['baseUrl'] = settings.baseUrl;
  }
  if (filled['keyEnv'] === undefined) {
    if (settings.keyEnv !== undefined) filled['keyEnv'] = settings.keyEnv;
    else if (settings.key !== undefined) filled['apiKey'] = settings.key;
  }
  return { ...filled, provider } as Applied<Options>; // its members are those of the options, and those of the schema
}

/** The provider behind a name, and what the config file says of it. */
export function resolveProvider(
  asked: string | undefined,
  { providers, defaults }: CLIConfig,
): { readonly name: string; readonly provider: ProviderName; readonly settings: ProviderSettings } {
  const name = asked ?? defaults.provider;
  if (name === undefined) {
    throw new UsageError('whom to ask? Give --provider NAME, or defaults: provider: in a config file');
  }
  const [own, settings = {}] = [...providers].find(([each]) => each.toLowerCase() === name.toLowerCase()) ?? [];
  const provider = settings.use ?? knownProvider(own ?? name);
  if (provider === undefined) {
    // It may be a key that was given in the wrong place.
    const names = [...PROVIDER_NAMES, ...[...providers.keys()].filter((each) => knownProvider(each) === undefined)];
    const shown = name.length <= 24 && /^[\w.-]+$/.test(name) ? `'${name}'` : 'of that name';
    throw new UsageError(`there is no provider ${shown}${suggestion(name, names)}; known are ${names.join(', ')}`);
  }
  return { name: own ?? provider, provider, settings };
}

/** Whether what a file says is of use to this provider, asked in this way: what flags and jobs say is refused where it is not, this is left out. */
function isOfUse(
  provider: ProviderName,
  option: (typeof ASKING)[number][1],
  value: string | number | true,
  { mode, app, agent }: Readonly<Record<string, unknown>>,
): boolean {
  const { modes, takes } = PROVIDERS[provider];
  if (option === 'mode') return modes.some((each) => each === value);
  if (!takes.includes(option)) return false;
  if (option === 'app') return agent === undefined;
  if (option === 'agent') return app === undefined;
  if (agent !== undefined && (option === 'maxTokens' || option === 'temperature')) return false;
  const isCompletion = (mode ?? modes[0]) === 'completion';
  return !(isCompletion && (option === 'system' || option === 'enableThinking'));
}

/** A folder that somebody else has made must not send this person's key to its maker. */
function requireTrust(
  { file, isFound, hasVariable }: CLIConfig,
  name: string,
  provider: ProviderName,
  { baseUrl = '', keyEnv }: ProviderSettings,
  asked: unknown,
): void {
  const variable = asked ?? keyEnv ?? PROVIDERS[provider].keyEnv;
  if (!isFound || typeof variable !== 'string' || !hasVariable(variable)) return;
  const url = new URL(baseUrl);
  if (isLoopback(url) || url.origin === usualOrigin(provider)) return;
  const shown = basename(file ?? '');
  throw new UsageError(
    `${shown}, which lies in this folder, would send a key to ${url.host} for ${name}: if that is meant, name the file, ` +
      `with --config ${shown} or in the variable MILLRACE_CONFIG`,
  );
}
