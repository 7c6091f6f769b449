import { mkdtemp, readFile, rm } from 'node:fs/promises';
import net, { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import * as fc from 'fast-check';
import { from, lastValueFrom, mergeMap, of, toArray } from 'rxjs';
import { Agent } from 'undici';
import { expect, it, onTestFinished, vi } from 'vitest';
import { isMillraceError } from '../../src/errors.js';
import { stopOn } from '../../src/operators/stopOn.js';
import { tapReceipt } from '../../src/operators/tapReceipt.js';
import { toFile } from '../../src/sinks/toFile.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { type ProviderBaseURLs, startProviderServer } from '../../src/testing/index.js';
import type { Receipt } from '../../src/types.js';
import { type Variant, variants } from '../support/variants.js';

const STREAMS = 200;

type Fate = 'heals' | 'dies' | 'refused' | 'stopped' | 'left';

interface Plan {
  readonly variant: Variant;
  readonly fate: Fate;
}

const plan: fc.Arbitrary<Plan> = fc.record({
  variant: fc.constantFrom(...variants),
  fate: fc.oneof(
    { weight: 6, arbitrary: fc.constant<Fate>('heals') },
    { weight: 1, arbitrary: fc.constantFrom<Fate>('dies', 'refused', 'stopped', 'left') },
  ),
});

/** What happens to one connection: it is cut after so many bytes of answers, or not at all. */
interface Cut {
  readonly after: number;
  readonly how: 'reset' | 'fin' | 'none';
}

const cut: fc.Arbitrary<Cut> = fc.record({
  after: fc.integer({ min: 0, max: 3_000 }),
  how: fc.constantFrom<Cut['how']>('reset', 'fin', 'none'),
});

/** Stands before a server and cuts its connections. */
async function startCutter(port: number, cuts: readonly Cut[]) {
  let next = 0;
  const sockets: Set<net.Socket> = new Set();
  const server = net.createServer((client) => {
    const { after, how } = cuts[next++ % cuts.length] ?? { after: 0, how: 'none' };
    const upstream = net.connect(port, '127.0.0.1');
    let passed = 0;
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => undefined); // the other end is told by `close`
      socket.on('close', () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.pipe(upstream);
    upstream.on('data', (bytes: Buffer) => {
      const left = how === 'none' ? Infinity : after - passed;
      passed += bytes.length;
      client.write(bytes.subarray(0, left));
      if (passed < after || how === 'none') return;
      if (how === 'reset') client.resetAndDestroy();
      else client.end();
    });
    upstream.on('end', () => client.end());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    origin: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`, // it listens on TCP
    connections: () => sockets.size,
    close: () =>
      new Promise<void>((resolve) =>
        server.close(() => {
          resolve();
        }),
      ),
  };
}

function moved(urls: ProviderBaseURLs, origin: string): ProviderBaseURLs {
  return Object.fromEntries(
    Object.entries(urls).map(([key, url]: [string, string]) => [key, url.replace(/^http:\/\/[^/]+/, origin)]),
  ) as unknown as ProviderBaseURLs; // the same keys
}

it(`tells the truth of ${String(STREAMS)} streams at once, whose connections are cut at random`, async () => {
  const warnings: unknown[] = [];
  const note = (warning: unknown): void => void warnings.push(warning);
  process.on('warning', note);
  process.on('unhandledRejection', note);
  const folder = await mkdtemp(join(tmpdir(), 'millrace-'));
  const server = await startProviderServer({
    script: ({ headers }) => {
      const [variant = '', fate] = String(headers['x-plan']).split('.');
      return fate === 'refused' ? { status: 401 } : variants[Number(variant)]?.content;
    },
  });
  const cutter = await startCutter(server.port, fc.sample(cut, { numRuns: 2_000, seed: 3 }));
  const dispatcher = new Agent();
  onTestFinished(async () => {
    process.off('warning', note);
    process.off('unhandledRejection', note);
    await server.close();
    await rm(folder, { recursive: true });
  });
  const timersBefore = active('Timeout');

  const live = async ({ variant, fate }: Plan, index: number): Promise<Receipt> => {
    const urls = moved(server.baseURLs, fate === 'dies' ? 'http://127.0.0.1:1' : cutter.origin);
    const call = variant.ask(urls, { 'x-plan': `${String(variants.indexOf(variant))}.${fate}` });
    const path = join(folder, `${String(index)}.txt`);
    const name = `${String(index)} ${variant.name} ${fate}`;
    const receipt = await new Promise<Receipt>((resolve) => {
      const subscription = fromCall(call, {
        dispatcher,
        onCancelError: () => undefined,
        timeout: { wireIdleMs: 20_000 },
        retry: { count: fate === 'dies' ? 2 : 60, delay: { initialMs: 1, maxMs: 20 } },
      })
        .pipe(
          fate === 'stopped' ? stopOn(of(0)) : stopOn(new Promise<never>(() => undefined)),
          toFile(path, { fsync: false }),
          tapReceipt(resolve),
        )
        .subscribe({
          error: (error: unknown) => {
            expect(isMillraceError(error), name).toBe(true);
          },
        });
      if (fate === 'left')
        setImmediate(() => {
          subscription.unsubscribe();
        });
    });
    const file = await readFile(receipt.where === 'none' ? '/dev/null' : receipt.where, 'utf8');
    switch (fate) {
      case 'heals':
        expect(receipt, name).toMatchObject({ outcome: 'complete', where: path, chars: variant.text.length });
        expect(file, name).toBe(variant.text);
        break;
      case 'dies':
        expect(receipt, name).toMatchObject({ outcome: 'interrupted', attempts: 3, chars: 0 });
        break;
      case 'refused':
        expect(receipt, name).toMatchObject({ outcome: 'failed', error: { code: 'ERR_HTTP' } });
        break;
      case 'stopped':
        expect(receipt, name).toMatchObject({ outcome: 'stopped', by: 'notifier' });
        break;
      case 'left':
        expect(receipt, name).toMatchObject({ outcome: 'stopped', by: 'unsubscribe' });
        expect(variant.text.startsWith(file), name).toBe(true);
        break;
    }
    return receipt;
  };

  const plans = fc.sample(plan, { numRuns: STREAMS, seed: 2 });
  const receipts = await lastValueFrom(from(plans).pipe(mergeMap(live), toArray()));
  await dispatcher.close();
  await cutter.close();
  await vi.waitFor(() => {
    expect(cutter.connections()).toBe(0);
    expect(server.connections()).toBe(0);
    expect(active('TCPSocketWrap')).toBe(0);
    // The HTTP client's own, and that of this wait.
    expect(active('Timeout') - timersBefore).toBeLessThanOrEqual(2);
  });
  expect(warnings).toEqual([]);
  const attempts = receipts.reduce((sum, receipt) => sum + receipt.attempts, 0);
  const restarts = receipts.reduce((sum, receipt) => sum + receipt.restarts, 0);
  console.log(
    `parallel retries: ${String(STREAMS)} streams at once, ${String(attempts)} attempts, ${String(restarts)} told by restart; ` +
      'every receipt right, no connection and no timer left',
  );
}, 120_000);

function active(kind: string): number {
  return process.getActiveResourcesInfo().filter((each) => each === kind).length;
}
