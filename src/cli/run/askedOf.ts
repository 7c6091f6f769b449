import { applyConfig, type Askable, type CLIConfig } from '../config.js';
import {
  type CallOptions,
  modelOf,
  modeOf,
  ownRequest,
  type OwnRequest,
  providerCall,
  PROVIDERS,
} from '../providerCall.js';
import type { FileJob } from './fileJob.js';
import type { KnownFields } from './jobFields.js';

/** Stands for a key where requests are only looked at. */
const PLACEHOLDER_KEY = 'placeholder-key';

/** Whom and what a job asks. */
export interface JobAsked extends Pick<FileJob, 'options' | 'asks' | 'keyEnv'> {
  /** Its model, app or agent. */
  readonly model: string | undefined;
}

/**
 * Whom and what a job asks, with what the config file says; looked at as the library will when it is asked.
 * @param known - with a provider that is known, and not both a prompt and a request
 * @returns `undefined` where nothing is asked
 * @throws UsageError for an option that does not fit, TypeError and RangeError from the library for a request that cannot be right
 */
export function askedOf(known: KnownFields, config: CLIConfig): JobAsked | undefined {
  const { id: _, prompt, request, format: __, output: ___, ...given } = known;
  // A job that does not want to think says so against a config file; a call knows only that one does.
  const { keyEnv, apiKey: ____, enableThinking, ...rest } = applyConfig(given as Askable, config);
  const options: CallOptions = enableThinking ? { ...rest, enableThinking } : rest;
  const asked = request === undefined ? aroundPrompt(options, prompt) : aroundRequest(options, request, known);
  if (asked === undefined) return undefined;
  providerCall({ ...asked.options, ...asked.asks, apiKey: PLACEHOLDER_KEY });
  return { ...asked, keyEnv, model: modelOf({ ...asked.options, ...asked.asks }) };
}

function aroundPrompt(options: CallOptions, prompt: string | undefined): Pick<FileJob, 'options' | 'asks'> | undefined {
  // An app may be asked with its input alone.
  const text = prompt ?? (options.app !== undefined && options.input !== undefined ? '' : undefined);
  return text === undefined ? undefined : { options: { ...options, mode: modeOf(options) }, asks: { prompt: text } };
}

/** What a config file says that has no place beside a request is left out; what the job says is refused there. */
function aroundRequest(options: CallOptions, own: OwnRequest, known: KnownFields): Pick<FileJob, 'options' | 'asks'> {
  const saysWho = ['app', 'agent', 'agent_config'].some((name) => own[name] !== undefined);
  const beside = Object.entries(options).filter(([name]) => {
    if (Object.hasOwn(known, name)) return true;
    return ALWAYS.has(name) || (name === 'app' || name === 'agent' ? !saysWho : NAMING.has(name));
  });
  const told = { ...Object.fromEntries(beside), provider: options.provider, request: own };
  const mode = modeOf(told);
  const request = ownRequest({ ...told, mode });
  const model = PROVIDERS[options.provider].takes.includes('model') ? modelOf({ ...told, mode }) : undefined;
  const { provider, baseUrl, region } = options;
  return {
    options: {
      provider,
      mode,
      ...(model !== undefined && { model }),
      ...(baseUrl !== undefined && { baseUrl }),
      ...(region !== undefined && { region }),
    },
    asks: { request },
  };
}

const ALWAYS: ReadonlySet<string> = new Set(['mode', 'baseUrl', 'region']);
const NAMING: ReadonlySet<string> = new Set(['model', 'service']);
