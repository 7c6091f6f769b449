import { firstValueFrom, fromEvent } from 'rxjs';
import { workJobs } from '../../src/bullmq/index.js';
import { infernet, inferencesh, polargrid } from '../../src/providers/index.js';
import type { Call } from '../../src/protocol/call.js';
import type { PlannedJob } from './jobWorld.js';

/** What a worker of the play is told when it begins, as JSON. */
export interface FleetOrders {
  readonly url: string;
  readonly queue: string;
  readonly dir: string;
  readonly leaseMs: number;
  readonly baseURLs: Readonly<Record<PlannedJob['provider'], string>>;
}

type Asked = Pick<PlannedJob, 'id' | 'provider' | 'prompt'>;

/** Works off the queue until it is told to end. Runs in a process of its own. */
export async function workInFleet({ url, queue, dir, leaseMs, baseURLs }: FleetOrders): Promise<void> {
  const callOff = new AbortController();
  void firstValueFrom(fromEvent(process, 'SIGTERM')).then(() => {
    callOff.abort();
  });
  const tasks = inferencesh({ apiKey: 'any', baseURL: baseURLs.inferencesh });
  const chats = {
    polargrid: polargrid({ apiKey: 'any', baseURL: baseURLs.polargrid }),
    infernet: infernet({ apiKey: 'any', baseURL: baseURLs.infernet }),
  };
  const callOf = ({ provider, prompt }: Asked): Call =>
    provider === 'inferencesh'
      ? tasks.run({ app: 'millhouse/storyteller@3', input: { text: prompt } })
      : chats[provider].chat({ model: 'millwheel-1', messages: [{ role: 'user', content: prompt }] });
  await new Promise<void>((resolve, reject) => {
    workJobs<Asked>({
      redis: { url },
      queue,
      concurrency: 25,
      leaseMs,
      signal: callOff.signal,
      run: () => ({
        call: callOf,
        attach: ({ provider }, workId) => (provider === 'inferencesh' ? tasks.attach(workId) : undefined),
        file: ({ id }) => `${id}.txt`,
        dir,
        retry: { count: 30, delay: { initialMs: 20, maxMs: 200 } },
        timeout: { firstContentMs: 2_000, contentIdleMs: 500 },
      }),
    }).subscribe({ complete: resolve, error: reject });
  });
}
