import type { Client } from './client.js';

/** The first words of replies that another try, a little later, may not get. */
const PASSING: ReadonlySet<string> = new Set([
  'ASK',
  'BUSY',
  'CLUSTERDOWN',
  'LOADING',
  'MASTERDOWN',
  'MOVED',
  'READONLY',
  'TRYAGAIN',
  'UNBLOCKED',
]);

/** Whether a command that failed may succeed when it is told again. */
export function isPassing(error: unknown, client: Client | undefined): boolean {
  if (!(error instanceof Error) || error instanceof TypeError || error instanceof RangeError) return false;
  if (error.name === 'ReplyError') return PASSING.has(firstWord(error.message));
  // A connection that was lost; not one that was closed for good.
  return client?.status !== 'end';
}

/** What was thrown, as an error. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

/** Whether the server does not know a script. */
export function isUnknownScript(error: unknown): boolean {
  return error instanceof Error && firstWord(error.message) === 'NOSCRIPT';
}

function firstWord(message: string): string {
  return message.split(' ', 1)[0] ?? '';
}

/**
 * An error of the client, fit to be shown. Its own carries the command with its arguments: what was streamed, or the password.
 * @param secrets - taken out of the message
 */
export function shown(error: unknown, secrets: readonly string[]): Error {
  const original = asError(error);
  const { lastNodeError, code } = original as { lastNodeError?: unknown; code?: unknown };
  const last = lastNodeError instanceof Error ? `: ${lastNodeError.message}` : '';
  let message = `${original.message}${last}`;
  for (const secret of secrets) message = message.replaceAll(secret, '[redacted]');
  const copy = new Error(message);
  copy.name = original.name;
  return typeof code === 'string' ? Object.assign(copy, { code }) : copy;
}

/** The passwords that a client was given. */
export function secretsOf(client: Client): readonly string[] {
  const { options } = client;
  const given =
    'redisOptions' in options
      ? [options.redisOptions?.password]
      : [
          'password' in options ? options.password : undefined,
          'sentinelPassword' in options ? options.sentinelPassword : undefined,
        ];
  return given.flatMap((secret) =>
    typeof secret === 'string' && secret !== '' ? [secret, encodeURIComponent(secret)] : [],
  );
}
