import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { createGate, type Gate } from '../../src/operators/createGate.js';
import { retryOnDisconnect } from '../../src/operators/retryOnDisconnect.js';
import { openaiCompatible } from '../../src/providers/index.js';
import { redisGate, type RedisGateOptions } from '../../src/redis/index.js';
import { collect } from '../../src/sinks/collect.js';
import { fromCall } from '../../src/sources/fromCall.js';

/** What a process is told when it begins. */
export interface GateOrders {
  readonly name: string;
  /** Of the server of answers. */
  readonly url: string;
  readonly streams: number;
  /** How far apart they are started. */
  readonly everyMs: number;
  /** The gate that all share; or each process has its own. */
  readonly gate:
    | (RedisGateOptions & { readonly redis: { readonly url: string } })
    | { readonly own: { readonly perKey: number; readonly adapt: boolean } };
}

/** Asks as often as it was told, and reports each answer to its parent. Runs in a process of its own. */
export async function askThroughGate({ name, url, streams, everyMs, gate: options }: GateOrders): Promise<void> {
  const shared = 'own' in options ? undefined : redisGate(options.redis, options);
  const gate: Gate = shared ?? createGate('own' in options ? options.own : {});
  const api = openaiCompatible({ baseURL: url, apiKey: 'any', headers: { 'x-process': name } });
  const asked: Promise<void>[] = [];
  for (let index = 0; index < streams; index += 1) {
    if (everyMs > 0) await sleep(everyMs);
    const answer = fromCall(api.chat({ model: 'any', messages: [{ role: 'user', content: 'Hello' }] })).pipe(
      gate('k'),
      retryOnDisconnect({ refusals: Infinity, delay: { initialMs: 1, maxMs: 5 } }),
    );
    asked.push(
      collect(answer).then(
        ({ text }) => {
          process.send?.({ text });
        },
        (error: unknown) => {
          process.send?.({ error: String(error) });
        },
      ),
    );
  }
  await Promise.all(asked);
  await shared?.close();
}
