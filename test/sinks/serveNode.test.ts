import { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import type { ProxyBody } from '../../src/internal/proxyAnswer.js';
import { serveNode } from '../../src/sinks/serveNode.js';

/** A connection that takes one write at a time, when it is told to. */
function slowConnection(): {
  readonly socket: Duplex;
  readonly written: () => string;
  readonly take: () => Promise<void>;
} {
  const taken: Buffer[] = [];
  let done: (() => void) | undefined;
  const socket = new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _, next) => {
      taken.push(chunk);
      done = next;
    },
  });
  return {
    socket,
    written: () => Buffer.concat(taken).toString(),
    take: async () => {
      done?.();
      await turn();
    },
  };
}

it('serveNode hands over all that came before a cut, and then cuts', async () => {
  const { socket, written, take } = slowConnection();
  const request = new IncomingMessage(socket as Socket); // what it uses of one
  request.method = 'GET';
  request.url = '/';
  const response = new ServerResponse(request);
  response.assignSocket(socket as Socket);
  const pieces = ['one', 'two'];
  const body: ProxyBody = {
    next: () => {
      const piece = pieces.shift();
      if (piece === undefined) return Promise.reject(new Error('cut'));
      return Promise.resolve({ done: false, value: Buffer.from(piece) });
    },
  };
  const over = serveNode(
    request,
    response,
    { answer: () => Promise.resolve({ status: 200, headers: {}, body }), report: () => undefined },
    false,
  );
  await turn();
  expect(pieces).toEqual([]);
  expect(response.destroyed).toBe(false);
  for (let writes = 0; writes < 20; writes += 1) await take();
  await over;
  expect(written()).toMatch(/one[^]*two/);
  expect(written()).not.toContain('\r\n0\r\n');
  expect(response.destroyed).toBe(true);
});
