import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { expect, it, onTestFinished } from 'vitest';
import { bundle } from '../support/bundle.js';
import { describeInChromium, launchChromium } from '../support/chromium.js';
import { redisPath, startRedis } from '../support/redisServer.js';
import { type PlayedStream, textOf } from '../support/storeRoles.js';

interface Instance {
  readonly child: ChildProcess;
  readonly port: number;
}

/** Sends every connection to the instance that serves now, as a load balancer does. */
async function startBalancer(): Promise<{ readonly url: string; target: number }> {
  const sockets = new Set<Socket>();
  const balancer = { url: '', target: 0 };
  const server = createServer((socket) => {
    const upstream = connect(balancer.target, '127.0.0.1');
    for (const each of [socket, upstream]) {
      sockets.add(each);
      each
        .on('error', () => undefined)
        .on('close', () => {
          sockets.delete(each);
          socket.destroy();
          upstream.destroy();
        });
    }
    socket.pipe(upstream).pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  balancer.url = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}/`;
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return balancer;
}

describeInChromium('a page', () => {
  it.skipIf(redisPath === undefined)(
    'that is reloaded in the middle of an answer goes on from another instance after the first one was killed',
    { timeout: 60_000 },
    async () => {
      const redis = await startRedis();
      onTestFinished(() => redis.stop());
      const folder = await mkdtemp(join(tmpdir(), 'millrace-instances-'));
      onTestFinished(() => rm(folder, { recursive: true, force: true }));
      const stream: PlayedStream = { id: 'answer', startedAt: Date.now(), pieces: 160, everyMs: 40 };
      const program = join(folder, 'instance.mjs');
      await bundle(
        `import { redisStore } from './src/redis/index.ts';
         import { serveInstance } from './test/support/storeInstance.ts';
         await serveInstance(redisStore({ url: ${JSON.stringify(redis.url)} }), ${JSON.stringify(stream)}, 600);`,
        program,
      );
      const startInstance = async (): Promise<Instance> => {
        const child = spawn(process.execPath, [program], { stdio: ['ignore', 'pipe', 'inherit'] });
        onTestFinished(() => {
          child.kill('SIGKILL');
        });
        const [port] = (await once(child.stdout.setEncoding('utf8'), 'data')) as [string];
        return { child, port: Number(port) };
      };
      const balancer = await startBalancer();
      const a = await startInstance();
      const b = await startInstance();
      balancer.target = a.port;
      await fetch(`${balancer.url}begin`, { method: 'POST' });

      const browser = await launchChromium();
      onTestFinished(() => browser.close());
      const page = await browser.newPage();
      await page.goto(balancer.url);
      const shown = (): Promise<string> => page.locator('#text').innerText();
      await page.waitForFunction("document.getElementById('text').textContent.includes('says 20 ')");
      await page.reload();
      await page.waitForFunction("document.getElementById('text').textContent.includes('says 40 ')");
      balancer.target = b.port;
      a.child.kill('SIGKILL');
      await page.waitForFunction("document.title === 'complete'", undefined, { timeout: 30_000 });
      expect(await page.locator('#text').textContent()).toBe(textOf(stream));
      expect(await shown()).toContain('answer says 159');
    },
  );
});
