import module from 'node:module';
import process from 'node:process';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Dispatcher } from 'undici';
import { redactURL } from '../../internal/redactURL.js';
import { printable, wrapText } from '../../internal/textWidth.js';
import { type Applied, applyConfig, type Askable, type CLIConfig, loadConfig, resolveProvider } from '../config.js';
import { type CLIContext, colorsFor } from '../context.js';
import { endpointOf } from '../endpoint.js';
import { EXIT, type ExitCode, UsageError } from '../exitCodes.js';
import { PROVIDER_NAMES, providerCall, PROVIDERS } from '../providerCall.js';
import { readPackage } from '../readPackage.js';
import type { Check } from './check.js';
import { hostChecks } from './hostChecks.js';
import { dispatcherFor, proxiesOf, proxyChecks, proxyFor } from './proxies.js';
import { callChecks, MAX_ANSWER_TOKENS, QUESTION, urlChecks } from './streamChecks.js';

/** What `millrace doctor` takes. */
export interface DoctorOptions extends Omit<Askable, 'provider'> {
  readonly stream?: true;
  readonly url?: URL;
  /** Milliseconds; 0 for none. */
  readonly timeout?: number;
  readonly json?: true;
  readonly config?: string;
}

/** Looks at whatever streams depend on: this machine, keys, hosts, what is between. */
export async function doctor(
  provider: string | undefined,
  options: DoctorOptions,
  context: CLIContext,
): Promise<ExitCode> {
  const config = await loadConfig(context, options.config);
  const proxies = proxiesOf(context.env);
  const dispatcher = dispatcherFor(proxies);
  const show = printer(options, context);
  const checks: Check[] = [];
  const add = (found: readonly Check[]): void => {
    checks.push(...found);
    for (const check of found) show(check);
  };
  try {
    add([...machineChecks(config), ...proxyChecks(context.env, MACHINE)]);
    const parts = { options, config, dispatcher, context };
    if (options.url !== undefined) {
      const probe = { dispatcher, signal: context.signal, timeoutMs: timeoutOf(options) };
      const of = redactURL(options.url);
      const reached = await hostChecks(of, { ...probe, url: options.url, proxy: proxyFor(options.url, proxies) });
      add(reached);
      if (reached.every(({ verdict }) => verdict !== 'broken')) add(await urlChecks(options.url, { ...probe, of }));
    } else if (provider !== undefined) {
      await checkProvider(provider, true, parts, add);
    } else {
      const { usable, others } = providersToTry(config, context.env);
      for (const name of usable) await checkProvider(name, false, parts, add);
      add([othersCheck(others, usable.length)]);
    }
  } catch (error) {
    if (context.signal.aborted) return EXIT.stopped;
    throw error;
  } finally {
    await Promise.race([dispatcher.destroy(), sleep(1000, undefined, { ref: false })]);
  }
  const isWell = checks.every(({ verdict }) => verdict !== 'broken');
  if (options.json === true) context.stdout.write(`${JSON.stringify({ isWell, checks }, null, 2)}\n`);
  else context.stdout.write(`\n${closing(checks)}\n`);
  return isWell ? EXIT.complete : EXIT.failed;
}

const MACHINE = 'this machine';

/** For a name, a connection, a handshake, an answer's headers. */
const USUAL_TIMEOUT_MS = 10_000;
/** Longer than anybody waits. */
const NO_TIMEOUT_MS = 2 ** 31 - 1;

function timeoutOf({ timeout = USUAL_TIMEOUT_MS }: DoctorOptions): number {
  return timeout === 0 ? NO_TIMEOUT_MS : timeout;
}

interface Parts {
  readonly options: DoctorOptions;
  readonly config: CLIConfig;
  readonly dispatcher: Dispatcher;
  readonly context: CLIContext;
}

/** @param isNamed - whether it was asked for: what is missing is a fault only then */
async function checkProvider(
  asked: string,
  isNamed: boolean,
  { options, config, dispatcher, context }: Parts,
  add: (checks: readonly Check[]) => void,
): Promise<void> {
  const { name: of } = resolveProvider(asked, config);
  const { stream, url: _url, timeout: _timeout, json: _json, config: _config, ...given } = options;
  let applied: Applied<Askable>;
  let url: URL;
  try {
    applied = applyConfig({ ...given, provider: asked }, config);
    url = endpointOf(applied);
  } catch (error) {
    // A name that nobody knows, or a base URL that is none.
    if (!(error instanceof UsageError || error instanceof TypeError)) throw error;
    if (isNamed) throw error instanceof UsageError ? error : new UsageError(error.message);
    add([{ of, name: 'place', verdict: 'warning', says: error.message }]);
    return;
  }
  const { apiKey, check } = keyCheck(of, applied, isNamed, context.env);
  add([check, { of, name: 'place', verdict: 'ok', says: redactURL(url), facts: { url: redactURL(url) } }]);
  const probe = { dispatcher, signal: context.signal };
  const reached = await hostChecks(of, {
    ...probe,
    url,
    proxy: proxyFor(url, proxiesOf(context.env)),
    timeoutMs: timeoutOf(options),
  });
  add(reached);
  if (stream !== true || [check, ...reached].some(({ verdict }) => verdict === 'broken')) return;
  const { takes } = PROVIDERS[applied.provider];
  const limit =
    applied.maxTokens ?? (takes.includes('maxTokens') && applied.agent === undefined ? MAX_ANSWER_TOKENS : undefined);
  const call = providerCall({ ...applied, ...(limit !== undefined && { maxTokens: limit }), apiKey, prompt: QUESTION });
  add(await callChecks(call, { ...probe, of }));
}

/** The key itself is shown nowhere, and neither is how long it is. */
function keyCheck(
  of: string,
  { provider, mode, keyEnv, apiKey }: Applied<Askable>,
  isNamed: boolean,
  env: CLIContext['env'],
): { readonly apiKey: string | undefined; readonly check: Check } {
  const { keyEnv: usual, keyless = [], modes } = PROVIDERS[provider];
  const base = { of, name: 'key' };
  if (keyEnv === undefined && apiKey !== undefined) {
    return { apiKey, check: { ...base, verdict: 'ok', says: 'stands in the config file' } };
  }
  const variable = keyEnv ?? usual;
  if (variable === undefined) return { apiKey: undefined, check: { ...base, verdict: 'ok', says: 'none is needed' } };
  // What was given as a variable's name may be a key.
  const shown =
    keyEnv === undefined || /^[A-Z][A-Z0-9_]*$/.test(variable) ? variable : 'the variable that is named for it';
  const key = env[variable] ?? '';
  if (key === '') {
    const isOptional = keyEnv === undefined && keyless.includes(mode ?? modes[0] ?? '');
    if (isOptional)
      return { apiKey: undefined, check: { ...base, verdict: 'ok', says: `${shown} is not set, and need not be` } };
    const advice = `Set ${shown}, or name another variable with --key-env`;
    return {
      apiKey: undefined,
      check: { ...base, verdict: isNamed ? 'broken' : 'warning', says: `${shown} is not set`, advice },
    };
  }
  if (/^(?:bearer\s|["'])|\s/i.test(key)) {
    const advice = 'Only the key itself belongs there: no quotes, no white space, no "Bearer"';
    return {
      apiKey: key,
      check: { ...base, verdict: 'warning', says: `${shown} is set, and holds more than a key`, advice },
    };
  }
  return { apiKey: key, check: { ...base, verdict: 'ok', says: `${shown} is set`, facts: { variable: shown } } };
}

/** Whoever has a key, or is in the config file. */
function providersToTry(
  { providers }: CLIConfig,
  env: CLIContext['env'],
): { readonly usable: readonly string[]; readonly others: readonly string[] } {
  const named = [...providers.keys()];
  const isNamed = (name: string): boolean => named.some((each) => each.toLowerCase() === name.toLowerCase());
  const known = PROVIDER_NAMES.filter((name) => !isNamed(name));
  const hasKey = (name: (typeof known)[number]): boolean => (env[PROVIDERS[name].keyEnv ?? ''] ?? '') !== '';
  // One that may be asked without a key is looked at where it is named.
  const needsKey = (name: (typeof known)[number]): boolean => {
    const { keyless = [], modes } = PROVIDERS[name];
    return keyless.length < modes.length;
  };
  return {
    usable: [...named, ...known.filter(hasKey)],
    others: known.filter((name) => !hasKey(name) && needsKey(name)),
  };
}

function othersCheck(others: readonly string[], tried: number): Check {
  const says = `not tried, since there is no key: ${others.join(', ')}`;
  return tried > 0
    ? { of: 'the others', name: 'key', verdict: 'ok', says }
    : {
        of: 'the others',
        name: 'key',
        verdict: 'warning',
        says,
        advice: 'Set the key of one, or name one: millrace doctor NAME',
      };
}

function machineChecks({ file }: CLIConfig): readonly Check[] {
  const { version, engines } = readPackage();
  const wanted = engines.node.replace(/^>=/, '');
  const isNew = isAtLeast(process.versions.node, wanted);
  const node: Check = {
    of: MACHINE,
    name: 'Node',
    verdict: isNew ? 'ok' : 'broken',
    says: `${process.versions.node}; millrace ${version} needs ${wanted} or later`,
    ...(!isNew && { advice: `Install Node ${wanted} or later` }),
    facts: { node: process.versions.node, millrace: version, wanted, platform: process.platform },
  };
  const config: Check[] = file === undefined ? [] : [{ of: MACHINE, name: 'config', verdict: 'ok', says: file }];
  return [node, ...['rxjs', 'undici'].map(packageCheck), ...config];
}

function isAtLeast(version: string, wanted: string): boolean {
  const parts = version.split('.').map(Number);
  for (const [index, part] of wanted.split('.').map(Number).entries()) {
    const have = parts[index] ?? 0;
    if (have !== part) return have > part;
  }
  return true;
}

function packageCheck(name: string): Check {
  try {
    const path = module.createRequire(import.meta.url).resolve(`${name}/package.json`);
    const { version } = JSON.parse(readFileSync(path, 'utf8')) as { readonly version: string }; // every package has one
    return { of: MACHINE, name, verdict: 'ok', says: version, facts: { version } };
  } catch {
    const advice = `npm install ${name}`;
    return { of: MACHINE, name, verdict: 'broken', says: 'is not installed', advice };
  }
}

const MARKS = { ok: '✓', warning: '!', broken: '✗' } as const;
const NAME_COLUMNS = 10;

function printer({ json }: DoctorOptions, { stdout, env }: CLIContext): (check: Check) => void {
  if (json === true) return () => undefined;
  const colors = colorsFor(stdout, env);
  const paint = { ok: colors.green, warning: colors.yellow, broken: colors.red };
  const columns = Math.max(40, Math.min(stdout.columns ?? 100, 120));
  let of: string | undefined;
  const indent = ' '.repeat(NAME_COLUMNS + 4);
  return (check) => {
    if (check.of !== of) stdout.write(`${of === undefined ? '' : '\n'}${colors.bold(check.of)}\n`);
    of = check.of;
    const lines = wrapText(printable(check.says), columns - indent.length);
    const advice =
      check.advice === undefined ? [] : wrapText(`→ ${check.advice}`, columns - indent.length).map(colors.dim);
    const [first = '', ...rest] = [...lines, ...advice];
    const head = `  ${paint[check.verdict](MARKS[check.verdict])} ${check.name.padEnd(NAME_COLUMNS)}`;
    stdout.write([`${head}${first}`, ...rest.map((line) => `${indent}${line}`), ''].join('\n'));
  };
}

function closing(checks: readonly Check[]): string {
  const broken = checks.filter(({ verdict }) => verdict === 'broken').length;
  const warnings = checks.filter(({ verdict }) => verdict === 'warning').length;
  if (broken > 0) return `${String(broken)} ${broken === 1 ? 'check says' : 'checks say'} that something is broken.`;
  return warnings > 0 ? `Nothing is broken; ${String(warnings)} to look at.` : 'All is well.';
}
