import type { OutgoingHttpHeaders } from 'node:http';
import type { Exchange, ReceivedRequest } from '../exchange.js';
import type { ProviderName, Surface } from '../providerName.js';
import { chatRoutes } from './chatRoutes.js';
import type { Desk } from './desk.js';
import { errorReply } from './errorBodies.js';
import { inferenceshAgentRoutes } from './inferenceshAgentRoutes.js';
import { inferenceshTaskRoutes } from './inferenceshTaskRoutes.js';
import { infernetRoutes } from './infernetRoutes.js';
import { modelRoutes } from './modelRoutes.js';
import { replyError, replyScripted, type Route, type Visit } from './visit.js';

const ROUTES: readonly Route[] = [
  ...infernetRoutes,
  ...inferenceshTaskRoutes,
  ...inferenceshAgentRoutes,
  ...chatRoutes,
  ...modelRoutes,
];

/** Whose error shape a path without a route gets. */
const SURFACES: Readonly<Record<ProviderName, Surface>> = {
  infernet: 'infernetJobs',
  infron: 'infron',
  inferencesh: 'inferencesh',
  gateway: 'gateway',
  polargrid: 'polargrid',
  openai: 'openai',
  anthropic: 'anthropic',
  gemini: 'gemini',
  ollama: 'ollama',
};

/** The provider that a path belongs to, by its first part. */
export function providerOf(path: string): ProviderName | undefined {
  const [, first = ''] = path.split('/');
  return Object.hasOwn(SURFACES, first) ? (first as ProviderName) : undefined; // `hasOwn` has just shown that it is a key
}

/** Answers one request as its provider does; an error of the script itself is answered with 500 and its message. */
export async function answerRequest(
  exchange: Exchange,
  desk: Desk,
  auth: 'required' | 'none',
  headers: OutgoingHttpHeaders,
): Promise<void> {
  const { request } = exchange;
  const found = findRoute(request);
  if (found === undefined) {
    const provider = providerOf(request.path);
    const reply = errorReply(provider === undefined ? 'gateway' : SURFACES[provider], 404, {
      message: `No route for ${request.method} ${request.path}`,
    });
    exchange.respond({ status: 404, headers: { ...headers, ...reply.headers } });
    await exchange.end(JSON.stringify(reply.body));
    return;
  }
  const { route, params } = found;
  const body = isObject(request.body) ? request.body : {};
  const visit: Visit = { exchange, route, params, body, desk, headers, taken: undefined };
  try {
    if (auth === 'required' && !isAuthorized(request, route)) {
      await replyError(visit, 401);
      return;
    }
    const missing = route.requires?.find((key) => body[key] === undefined);
    if (missing !== undefined) {
      await replyError(visit, 400, { message: `The body has no ${missing}` });
      return;
    }
    const taken = desk.take(request, route.provider, route.begins === true);
    const script = taken?.script;
    if (script !== undefined && (script.body !== undefined || (script.status ?? 200) !== 200)) {
      await replyScripted(visit, script);
    } else {
      await route.serve({ ...visit, taken });
    }
  } catch (error) {
    if (exchange.hasResponded) throw error;
    // Whoever wrote the script is on the other end of the connection more often than not.
    exchange.respond({ status: 500, headers: { ...headers, 'content-type': 'text/plain; charset=utf-8' } });
    await exchange.end(`millrace/testing could not answer: ${String(error)}\n`);
  }
}

function findRoute({ method, path }: ReceivedRequest): { route: Route; params: Record<string, string> } | undefined {
  for (const route of ROUTES) {
    const params = route.method === method ? matchPath(route.path, path) : undefined;
    if (params !== undefined) return { route, params };
  }
  return undefined;
}

function matchPath(template: string, path: string): Record<string, string> | undefined {
  const wanted = template.split('/');
  const given = path.split('/');
  if (wanted.length !== given.length) return undefined;
  const params: Record<string, string> = {};
  for (const [index, part] of wanted.entries()) {
    const value = given[index] ?? '';
    if (part.startsWith('{')) params[part.slice(1, -1)] = decodePart(value);
    else if (part !== value) return undefined;
  }
  return params;
}

function decodePart(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // Not percent-encoded after all: it names what it says, and no route will find it.
  }
}

/** The headers that take a key as it is, where the API has one beside the bearer token. */
const KEY_HEADERS: Readonly<Partial<Record<ProviderName, string>>> = {
  gateway: 'x-api-key',
  anthropic: 'x-api-key',
  gemini: 'x-goog-api-key',
};

/** Any key will do but the one named `invalid`, which is how a test asks for a 401. Ollama asks for none. */
function isAuthorized({ headers }: ReceivedRequest, { provider, isOpen = provider === 'ollama' }: Route): boolean {
  const keyHeader = KEY_HEADERS[provider];
  const plain = keyHeader === undefined ? undefined : headers[keyHeader];
  const bearer = provider === 'gateway' ? undefined : headers.authorization;
  if (plain === undefined && bearer === undefined) return isOpen;
  const key = plain === undefined ? /^Bearer +(\S.*)$/i.exec(String(bearer))?.[1] : String(plain);
  return key !== undefined && key !== '' && key !== 'invalid';
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
