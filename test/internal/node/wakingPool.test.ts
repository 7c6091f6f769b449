import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { Agent, buildConnector, type Dispatcher } from 'undici';
import { expect, it, onTestFinished } from 'vitest';
import { wakingPool } from '../../../src/internal/node/wakingPool.js';

const KIB = 1024;

it('holds no more of an answer than two reads of the network, however often its reader pauses within one', async () => {
  const piece = Buffer.alloc(KIB, 'x');
  const server = createServer((_, response) => {
    const pour = (): void => {
      while (response.write(piece)) if (response.destroyed) return;
      response.once('drain', pour);
    };
    pour();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo; // it listens on TCP
  const connector = buildConnector({ allowH2: false });
  let socket: Socket | undefined;
  const agent = new Agent({
    factory: wakingPool,
    connect: (options, callback) => {
      connector(options, (...result) => {
        if (result[0] === null) [, socket] = result;
        callback(...result);
      });
    },
  });
  onTestFinished(async () => {
    await agent.destroy();
    server.closeAllConnections();
    server.close();
  });

  let most = 0;
  await new Promise<void>((resolve, reject) => {
    let taken = 0;
    let since = 0;
    agent.dispatch(
      { origin: `http://127.0.0.1:${String(port)}`, path: '/', method: 'GET' },
      {
        onRequestStart: () => undefined,
        onResponseStart: () => undefined,
        onResponseData: (controller: Dispatcher.DispatchController, chunk) => {
          taken += chunk.length;
          since += chunk.length;
          if (taken > 8 * KIB * KIB) resolve();
          if (since < 16 * KIB) return;
          since = 0;
          controller.pause();
          setImmediate(() => {
            most = Math.max(most, socket?.readableLength ?? Infinity);
            controller.resume();
          });
        },
        onResponseEnd: () => undefined,
        onResponseError: (_, error) => {
          reject(error);
        },
      },
    );
  });
  expect(most).toBeLessThanOrEqual(4 * 64 * KIB);
});
