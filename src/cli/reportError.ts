import { inspect } from 'node:util';
import type { CLIContext } from './context.js';
import { printable } from '../internal/textWidth.js';

/** A shorter key is a word that stands elsewhere too; hiding it would tear holes into harmless text. */
const MIN_SECRET_CHARS = 8;

/**
 * Says on one line of stderr what went wrong; with `MILLRACE_DEBUG=1` the stack follows.
 * @param secret - a key that must not be shown, wherever it stands; one of fewer than 8 characters is none
 */
export function reportError({ stderr, env }: CLIContext, error: unknown, secret?: string): void {
  const hide = (text: string): string =>
    secret === undefined || secret.length < MIN_SECRET_CHARS ? text : text.replaceAll(secret, '[key]');
  const message = error instanceof Error ? error.message : String(error);
  stderr.write(`millrace: ${hide(printable(inFlags(message).replace(/\s*\n\s*/g, ' ')))}\n`);
  if (env['MILLRACE_DEBUG'] === '1') stderr.write(`${hide(inspect(error))}\n`);
}

/** The library's messages name its options; here they are flags. */
function inFlags(message: string): string {
  return message
    .replace("ifExists: 'skip' or 'overwrite' says", '--if-exists skip or overwrite says')
    .replace(/^baseURL /, '--base-url ');
}
