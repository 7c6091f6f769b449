import { type Fault, type ScriptedAnswer, startProviderServer } from '../../src/testing/index.js';
import type { ProviderBaseURLs } from '../../src/testing/index.js';
import type { Served } from './soakChild.js';
import { variants } from './variants.js';

/** What a request wants, in its header `x-cycle`. */
export interface Script {
  readonly id: string;
  /** Its place among the variants. */
  readonly variant: number;
  readonly fault?: Fault | undefined;
  readonly status?: number | undefined;
  readonly coding?: 'gzip' | undefined;
  readonly chunkBytes?: number | undefined;
  /** Only the first request with this id meets what is wrong. */
  readonly heals: boolean;
}

/** What the server says when it listens. */
export interface ProvidersReady {
  readonly baseURLs: ProviderBaseURLs;
}

/** What the server knows. */
export interface ProvidersState {
  readonly connections: number;
  /** Requests whose answers are not over: what they ask for, and their order. */
  readonly running: readonly string[];
}

/** Answers as all providers do, with the faults that each request orders. */
export async function soakProviders(): Promise<Served<ProvidersReady, ProvidersState>> {
  const seen = new Set<string>();
  const running = new Set<string>();
  const server = await startProviderServer({
    script: ({ headers }): ScriptedAnswer => {
      const script = JSON.parse(String(headers['x-cycle'])) as Script; // written by the test
      const { id, variant, fault, status, heals, coding, chunkBytes } = script;
      const isHealed = heals && seen.has(id);
      seen.add(id);
      const frames = variants[variant]?.stream.frames;
      return { frames, coding, chunkBytes, ...(!isHealed && (status === undefined ? { fault } : { status })) };
    },
  });
  const count = async (): Promise<never> => {
    for (;;) {
      const { method, path, headers, ended } = await server.nextRequest();
      const name = `${method} ${path} ${String(headers['x-cycle'])}`;
      running.add(name);
      void ended.then(() => running.delete(name));
    }
  };
  void count();
  return {
    ready: { baseURLs: server.baseURLs },
    state: () => ({ connections: server.connections(), running: [...running] }),
  };
}
