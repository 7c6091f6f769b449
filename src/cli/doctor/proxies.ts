import { Agent, type Dispatcher, EnvHttpProxyAgent } from 'undici';
import { redactURL } from '../../internal/redactURL.js';
import type { CLIContext } from '../context.js';
import type { Check } from './check.js';

/** What the environment says of proxies, as the library reads it: the lower-case name first. */
export interface Proxies {
  readonly http: string;
  readonly https: string;
  readonly none: string;
}

export function proxiesOf(env: CLIContext['env']): Proxies {
  const read = (name: string): string => env[name] ?? env[name.toUpperCase()] ?? '';
  return { http: read('http_proxy'), https: read('https_proxy'), none: read('no_proxy') };
}

/** The proxy that a URL is asked through. */
export function proxyFor(url: URL, { http, https, none }: Proxies): URL | undefined {
  const proxy = url.protocol === 'https:' ? https : http;
  if (proxy === '' || !isUsable(proxy) || isExcepted(url, none)) return undefined;
  return new URL(proxy);
}

function isUsable(proxy: string): boolean {
  return URL.canParse(proxy) && /^https?:$/.test(new URL(proxy).protocol);
}

/** By the rules of undici: `*`, a host, or a domain with all below it, perhaps with a port. */
function isExcepted({ hostname, port, protocol }: URL, none: string): boolean {
  const usual = protocol === 'https:' ? '443' : '80';
  return none.split(/[\s,]+/).some((entry) => {
    if (entry === '*') return true;
    const [, name = '', at] = /^(.+?)(?::(\d+))?$/.exec(entry.toLowerCase()) ?? [];
    const host = name.replace(/^\*?\./, '');
    if (host === '' || (at !== undefined && at !== (port === '' ? usual : port))) return false;
    return hostname === host || hostname.endsWith(`.${host}`);
  });
}

/** A dispatcher that goes through the same proxies as the library would. */
export function dispatcherFor({ http, https, none }: Proxies): Dispatcher {
  const options = { allowH2: false };
  if (![http, https].some((proxy) => proxy !== '' && isUsable(proxy))) return new Agent(options);
  const usable = (proxy: string): string => (isUsable(proxy) ? proxy : '');
  return new EnvHttpProxyAgent({
    ...options,
    httpProxy: usable(http),
    httpsProxy: usable(https),
    noProxy: none,
    proxyTunnel: true,
  });
}

/** What is set, without credentials. */
export function proxyChecks(env: CLIContext['env'], of: string): readonly Check[] {
  const names = ['http_proxy', 'https_proxy'].flatMap((lower) =>
    [lower, lower.toUpperCase()].filter((name) => (env[name] ?? '') !== '').slice(0, 1),
  );
  const checks = names.map((name): Check => {
    const value = env[name] ?? '';
    return isUsable(value)
      ? { of, name: 'proxy', verdict: 'ok', says: `${name} is ${redactURL(value)}` }
      : {
          of,
          name: 'proxy',
          verdict: 'broken',
          says: `${name} is no URL of a proxy`,
          advice: `Set it to http://HOST:PORT, or unset it`,
        };
  });
  const none = ['no_proxy', 'NO_PROXY'].find((name) => (env[name] ?? '') !== '');
  if (none !== undefined && names.length > 0) {
    checks.push({ of, name: 'proxy', verdict: 'ok', says: `${none} is ${(env[none] ?? '').slice(0, 200)}` });
  }
  const all = ['all_proxy', 'ALL_PROXY'].find((name) => (env[name] ?? '') !== '');
  if (all !== undefined && names.length === 0) {
    checks.push({
      of,
      name: 'proxy',
      verdict: 'warning',
      says: `${all} is set, which is not obeyed`,
      advice: 'Set HTTPS_PROXY, and HTTP_PROXY where it is needed',
    });
  }
  return checks.length > 0 ? checks : [{ of, name: 'proxy', verdict: 'ok', says: 'none in the environment' }];
}
