import { connectionOf } from './connection.js';
import { isKeyName } from './keyedRequest.js';
import { type AllowedPath, isAllowed, readAllowed, readPath, writePath } from './proxyRoute.js';
import type { Call } from '../protocol/call.js';

/** A provider that pages may ask. */
export interface ProxiedProvider {
  /** As the paths of pages name it. */
  readonly name: string;
  /** Its base URL up to the path of a request, without a slash at its end. */
  readonly prefix: string;
  /** Parameters that its base URL has. */
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string>>;
  readonly authorize: Call['authorize'];
}

/** Where a page's request is sent. */
export interface ProxyTarget {
  readonly provider: ProxiedProvider;
  /** Below the provider's base URL: empty, or beginning with a slash. */
  readonly path: string;
  readonly url: URL;
}

/** A page's request, as far as it says where to. */
export interface AskedTarget {
  readonly method: string;
  /** Path and query, as they came. */
  readonly target: string;
  /** The header of inference.sh's own client that holds the URL it means. */
  readonly told: string | null;
}

/** The parameter that holds it too, where the client could not send a header. */
const TOLD_PARAMETER = '__inf_target';

/** What a proxy may be asked for, and where that is. */
export class ProxyTargets {
  readonly #mount: string;
  readonly #providers: ReadonlyMap<string, ProxiedProvider>;
  readonly #allowed: readonly AllowedPath[];

  /** @throws TypeError for what cannot be right, and where a provider has no key */
  constructor(providers: Readonly<Record<string, object>>, allow: readonly string[], mountPath: string) {
    this.#mount = readMount(mountPath);
    this.#providers = new Map(Object.entries(providers).map(([name, adapter]) => [name, readProvider(name, adapter)]));
    if (!Array.isArray(allow) || allow.length === 0) {
      throw new TypeError(`allow must name what pages may ask for, such as ['POST /openai/chat/completions']`);
    }
    const names = new Set(this.#providers.keys());
    this.#allowed = allow.map((line: string) => readAllowed(line, names));
  }

  /** Where a request goes; none where it names nothing that is on the list, or says so in a way that could be read otherwise. */
  find({ method, target, told }: AskedTarget): ProxyTarget | undefined {
    const [whole, query] = cutQuery(target);
    if (whole !== this.#mount && !whole.startsWith(`${this.#mount}/`)) return undefined;
    const path = whole.slice(this.#mount.length);
    const parameters = new URLSearchParams(query);
    const named = parameters.getAll(TOLD_PARAMETER);
    if (told === null && named.length === 0) {
      const [, name = '', below = ''] = /^\/([\w-]+)(\/.*)?$/.exec(path) ?? [];
      return this.#allow(method, this.#providers.get(name), below, parameters);
    }
    const [url = '', ...others] = new Set(told === null ? named : [told, ...named]);
    if (others.length > 0 || url.includes('#')) return undefined;
    for (const provider of this.#providers.values()) {
      if (!['', '/', `/${provider.name}`].includes(path) || !url.startsWith(provider.prefix)) continue;
      const [below, search] = cutQuery(url.slice(provider.prefix.length));
      const found = this.#allow(method, provider, below, new URLSearchParams(search));
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #allow(
    method: string,
    provider: ProxiedProvider | undefined,
    below: string,
    parameters: URLSearchParams,
  ): ProxyTarget | undefined {
    const segments = readPath(below);
    if (provider === undefined || segments === undefined) return undefined;
    if (!isAllowed(this.#allowed, method, provider.name, segments)) return undefined;
    const path = writePath(segments);
    const url = new URL(provider.prefix + path);
    // As it was compared: the parser has found nothing in it to resolve.
    if (`${url.origin}${url.pathname.replace(/^\/$/, '')}` !== provider.prefix + path) return undefined;
    const query = new URLSearchParams(provider.query);
    for (const [name, value] of parameters) {
      if (!provider.query.has(name) && !isKeyName(name)) query.append(name, value);
    }
    url.search = query.toString();
    return { provider, path, url };
  }
}

function cutQuery(target: string): readonly [path: string, query: string] {
  const at = target.indexOf('?');
  return at === -1 ? [target, ''] : [target.slice(0, at), target.slice(at + 1)];
}

function readMount(mountPath: string): string {
  const mount = mountPath.replace(/\/+$/, '');
  if (readPath(mount) === undefined) {
    throw new TypeError(`mountPath must be a plain path, such as '/api/proxy', got ${JSON.stringify(mountPath)}`);
  }
  return mount;
}

function readProvider(name: string, adapter: object): ProxiedProvider {
  if (!/^[\w-]+$/.test(name)) {
    throw new TypeError(
      `The names of providers are parts of paths: letters, digits, - and _, got ${JSON.stringify(name)}`,
    );
  }
  const isAdapter = (typeof adapter === 'object' && adapter !== null) || typeof adapter === 'function';
  const connection = isAdapter ? connectionOf(adapter) : undefined;
  if (connection === undefined) {
    throw new TypeError(`providers.${name} must be what a provider of millrace makes, such as openai({ apiKey })`);
  }
  const { baseURL, headers, authorize } = connection;
  if (!URL.canParse(baseURL)) {
    throw new TypeError(`providers.${name} has a relative baseURL, which is for pages; here it must be the API's own`);
  }
  const { origin, pathname, searchParams } = new URL(baseURL);
  return {
    name,
    prefix: origin + pathname.replace(/\/+$/, ''),
    query: searchParams,
    headers,
    authorize: authorize(), // throws where a key is missing
  };
}
