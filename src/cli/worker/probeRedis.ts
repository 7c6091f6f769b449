import { once } from 'node:events';
import { connect, isIP, type Socket } from 'node:net';
import { addAbortSignal } from 'node:stream';
import { connect as connectTLS } from 'node:tls';
import { UsageError } from '../exitCodes.js';
import type { QueueAddress } from './queueAddress.js';

/** A server that does not answer for so long is not there. */
const TIMEOUT_MS = 5_000;
/** Longer is no answer to a PING. */
const MAX_ANSWER_CHARS = 10_000;

/**
 * Asks whether a Redis is there that lets us in, so that a wrong address is told at once, and on one line: whoever works with a queue
 * waits for a Redis that is away, as it should.
 * @throws UsageError where there is none, or it does not take the password
 */
export async function probeRedis(address: QueueAddress, signal: AbortSignal, timeoutMs = TIMEOUT_MS): Promise<void> {
  const overdue = AbortSignal.timeout(timeoutMs);
  const socket = open(new URL(address.url));
  addAbortSignal(AbortSignal.any([signal, overdue]), socket);
  try {
    const problem = await problemOf(socket, address);
    if (problem !== undefined) throw new UsageError(`the Redis at ${address.shown} ${problem}`);
  } catch (error) {
    if (signal.aborted || error instanceof UsageError) throw error;
    throw new UsageError(`there is no Redis at ${address.shown}: ${overdue.aborted ? 'no answer' : reasonOf(error)}`);
  } finally {
    socket.destroy();
  }
}

function open({ protocol, hostname, port }: URL): Socket {
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  const place = { host, port: port === '' ? 6379 : Number(port) };
  const socket =
    protocol === 'rediss:' ? connectTLS({ ...place, ...(isIP(host) === 0 && { servername: host }) }) : connect(place);
  return socket.on('error', () => undefined); // whoever reads is told; what comes later is nobody's
}

/** @returns what is wrong with what it says; nothing where it lets us in */
async function problemOf(socket: Socket, { login }: QueueAddress): Promise<string | undefined> {
  await once(socket, 'encrypted' in socket ? 'secureConnect' : 'connect');
  const credentials = login === undefined ? [] : login.user === '' ? [login.password] : [login.user, login.password];
  const commands = [...(login === undefined ? [] : [['AUTH', ...credentials]]), ['PING']];
  socket.write(commands.map(encode).join(''));
  const answers = await linesOf(socket, commands.length);
  for (const answer of answers) {
    const [word = ''] = answer.split(' ', 1);
    if (word === '-WRONGPASS') return 'refuses its user or password';
    if (word === '-NOAUTH') return 'wants a password; it stands in the URL, or in a variable that --help names';
    if (word === '-DENIED') return 'takes no connections from other machines: it has no password (protected mode)';
    if (!/^[-+]/.test(word)) return 'does not answer as a Redis does';
  }
  return undefined;
}

/** A command as Redis reads it. */
function encode(words: readonly string[]): string {
  const parts = words.map((word) => `$${String(Buffer.byteLength(word))}\r\n${word}\r\n`);
  return `*${String(words.length)}\r\n${parts.join('')}`;
}

/** Its first lines; fewer where it hangs up. */
async function linesOf(socket: Socket, count: number): Promise<readonly string[]> {
  let text = '';
  for await (const piece of socket.setEncoding('utf8')) {
    text += String(piece);
    if (text.split('\r\n').length > count || text.length > MAX_ANSWER_CHARS || !/^[-+]/.test(text)) break;
  }
  return text.split('\r\n').slice(0, count);
}

const REASONS: Readonly<Record<string, string | undefined>> = {
  ECONNREFUSED: 'nothing listens there (ECONNREFUSED)',
  ENOTFOUND: 'the name of its host is not known (ENOTFOUND)',
  EAI_AGAIN: 'the name of its host could not be looked up (EAI_AGAIN)',
  ECONNRESET: 'it hung up (ECONNRESET)',
  ETIMEDOUT: 'no answer (ETIMEDOUT)',
  EHOSTUNREACH: 'its host cannot be reached (EHOSTUNREACH)',
};

function reasonOf(error: unknown): string {
  // Several addresses of one name fail together.
  const [first] = error instanceof AggregateError ? (error.errors as readonly unknown[]) : [error];
  const { code, message } = first as NodeJS.ErrnoException; // of a socket
  return REASONS[code ?? ''] ?? message;
}
