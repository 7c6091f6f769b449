import { redactURL } from '../../internal/redactURL.js';
import { UsageError } from '../exitCodes.js';

/** The variable of a password that does not stand in `--queue`, where others on the machine could read it. */
export const PASSWORD_VARIABLE = 'MILLRACE_QUEUE_PASSWORD';

/** The queue's name where nobody says one: all who share a Redis and a folder share it. */
export const DEFAULT_QUEUE = 'millrace';

/** Where a queue is, and its name. */
export interface QueueAddress {
  /** With its password: never shown. */
  readonly url: string;
  readonly name: string;
  /** The URL as it may be shown. */
  readonly shown: string;
  /** As it is told to the server; `undefined` where there is none. */
  readonly login: { readonly user: string; readonly password: string } | undefined;
}

/**
 * The queue that a command line names.
 * @param text - what `--queue` says
 * @throws UsageError for what is no URL of a Redis. It is not quoted: it may hold a password
 */
export function queueAddress(
  text: string,
  name: string,
  env: Readonly<Record<string, string | undefined>>,
): QueueAddress {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^rediss?:$/.test(url.protocol) || url.hostname === '' || !/^\/?\d*$/.test(url.pathname)) {
    throw new UsageError(
      '--queue takes the URL of a Redis, such as redis://localhost:6379 or rediss://HOST:PORT/DATABASE',
    );
  }
  const variable = env[PASSWORD_VARIABLE] ?? '';
  if (url.password === '' && variable !== '') url.password = encodeURIComponent(variable);
  return { url: url.href, name, shown: redactURL(url), login: loginOf(url) };
}

function loginOf({ username, password }: URL): QueueAddress['login'] {
  if (username === '' && password === '') return undefined;
  try {
    return { user: decodeURIComponent(username), password: decodeURIComponent(password) };
  } catch {
    throw new UsageError(
      '--queue has a percent sign in its user or password that stands for nothing; it is written %25',
    );
  }
}

/** @returns why it is no name for a queue; nothing where it is one */
export function queueNameProblem(name: string): string | undefined {
  return /^[^\p{Cc}:{}]{1,128}$/u.test(name)
    ? undefined
    : 'It must be a text of 1 to 128 characters, without colons and braces.';
}
