import { redactURL } from '../internal/redactURL.js';
import { type Client, openClient } from './client.js';

/** A client of ioredis 5.4 or later, of one server or a cluster, that stays the caller's own; or where to connect to. @public */
export type RedisConnection = Client | { readonly url: string };

/** How the client is had. Nothing connects before the first command. */
export function requireConnection(redis: RedisConnection): () => Promise<Client> {
  // JavaScript callers pass what the types exclude.
  const given = redis as unknown;
  if (typeof given !== 'object' || given === null) throw refused();
  if (typeof (given as { evalsha?: unknown }).evalsha === 'function') {
    // Of ioredis, by its name for the command.
    const client = given as Client;
    return () => Promise.resolve(client);
  }
  const { url } = given as { url?: unknown };
  if (typeof url !== 'string') throw refused();
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    // Not quoted, since it may hold a password.
    throw new TypeError('url must be one such as redis://HOST:PORT/DATABASE, and is none at all');
  }
  if (parsed.protocol !== 'redis:' && parsed.protocol !== 'rediss:') {
    throw new TypeError(`url must begin with redis:// or rediss://, got ${redactURL(parsed)}`);
  }
  return () => openClient(url);
}

function refused(): TypeError {
  return new TypeError('redis must be a client of ioredis, or { url }');
}
