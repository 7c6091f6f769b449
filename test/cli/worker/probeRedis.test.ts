import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { probeRedis } from '../../../src/cli/worker/probeRedis.js';
import { queueAddress } from '../../../src/cli/worker/queueAddress.js';
import { describeWithRedis, startRedis } from '../../support/redisServer.js';

const never = new AbortController().signal;

/** A server that does what a test says. */
async function serve(onSocket: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => undefined));
    onSocket(socket);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  });
  return `redis://127.0.0.1:${String((server.address() as AddressInfo).port)}`; // a TCP server has an AddressInfo
}

const probe = (url: string, signal = never, timeoutMs?: number): Promise<void> =>
  probeRedis(queueAddress(url, 'q', {}), signal, timeoutMs);

describe('looking for a Redis', () => {
  it('says that nothing listens', async () => {
    await expect(probe('redis://:s3crt@127.0.0.1:1')).rejects.toThrow(
      /^there is no Redis at redis:\/\/127\.0\.0\.1:1: nothing listens there \(ECONNREFUSED\)$/,
    );
  });

  it('says that the name is not known', async () => {
    await expect(probe('redis://queue.invalid:6379')).rejects.toThrow(
      /^there is no Redis at redis:\/\/queue\.invalid:6379: the name of its host /,
    );
  });

  it.each([
    ['what is none', 'HTTP/1.1 400 Bad Request\r\n\r\n'],
    ['what hangs up', ''],
    ['what talks without an end', `+${'x'.repeat(20_000)}`],
  ])('says it of %s', async (_, answer) => {
    const url = await serve((socket) => {
      socket.once('data', () => socket.end(answer));
    });
    const says = answer.startsWith('+') ? undefined : `the Redis at ${url} does not answer as a Redis does`;
    if (says === undefined) await expect(probe(url)).resolves.toBeUndefined();
    else await expect(probe(url)).rejects.toThrow(says);
  });

  it('waits no longer than it should', async () => {
    const url = await serve(() => undefined);
    await expect(probe(url, never, 50)).rejects.toThrow(`there is no Redis at ${url}: no answer`);
  });

  it('is left when the person leaves', async () => {
    const leave = new AbortController();
    const url = await serve(() => {
      leave.abort();
    });
    await expect(probe(url, leave.signal)).rejects.toMatchObject({ name: 'AbortError' });
    await expect(probe(url, leave.signal)).rejects.toMatchObject({ name: 'AbortError' });
  });

  it('reads answers however they are cut', async () => {
    const url = await serve((socket) => {
      socket.once('data', () => {
        for (const byte of '+PONG\r\n') socket.write(byte);
      });
    });
    await expect(probe(url)).resolves.toBeUndefined();
  });
});

describeWithRedis('looking for a Redis', () => {
  it('is let in, with a password and without', async () => {
    const redis = await startRedis({ settings: ['--requirepass', 'schlüssel wort'] });
    onTestFinished(() => redis.stop());
    const at = (login: string): string => redis.url.replace('//', `//${login}@`);
    await expect(probe(at(`:${encodeURIComponent('schlüssel wort')}`))).resolves.toBeUndefined();
    await expect(probe(at(`default:${encodeURIComponent('schlüssel wort')}`))).resolves.toBeUndefined();
    await expect(probe(at(':wrong'))).rejects.toThrow(`the Redis at ${redis.url} refuses its user or password`);
    await expect(probe(redis.url)).rejects.toThrow(`the Redis at ${redis.url} wants a password`);
  });

  it('is let in by one that needs no password and gets one', async () => {
    const redis = await startRedis();
    onTestFinished(() => redis.stop());
    await expect(probe(redis.url)).resolves.toBeUndefined();
    await expect(probe(redis.url.replace('//', '//:one@'))).resolves.toBeUndefined();
  });
});
