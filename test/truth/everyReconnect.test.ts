import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { from, lastValueFrom, mergeMap, tap, toArray } from 'rxjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { retryOnDisconnect } from '../../src/operators/retryOnDisconnect.js';
import { toFile } from '../../src/sinks/toFile.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { type Fault, type ProviderServer, startProviderServer } from '../../src/testing/index.js';
import type { StreamEvent } from '../../src/types.js';
import { type Variant, variants } from '../support/variants.js';

const KINDS = ['reset', 'fin', 'close', 'end'] as const;

const CONTENT: ReadonlySet<string> = new Set(['text', 'thinking', 'tool-call-delta', 'tool-call', 'log', 'output']);

/** What a reader of events has in the end, and how often it was told to begin anew. */
class Reader {
  text = '';
  delivered = 0;
  restarts = 0;
  hasContent = false;

  hear(event: StreamEvent): void {
    this.hasContent ||= CONTENT.has(event.type);
    if (event.type === 'text') {
      this.text += event.text;
      this.delivered += event.text.length;
    } else if (event.type === 'restart') {
      expect(event.discard.chars).toBe(this.text.length);
      this.text = '';
      this.restarts += 1;
    }
  }
}

describe('a stream that is cut and asked for again', () => {
  let server: ProviderServer;
  let folder: string;
  let cuts = 0;
  const faults: Map<string, Fault> = new Map();

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'millrace-'));
    server = await startProviderServer({
      script: ({ headers }) => {
        const key = String(headers['x-cut']);
        const fault = faults.get(key);
        faults.delete(key); // once: the attempts after it are whole
        const content = variants[Number.parseInt(key, 10)]?.content;
        return fault === undefined ? content : { ...content, fault };
      },
    });
  });
  afterAll(async () => {
    await server.close();
    await rm(folder, { recursive: true });
    console.log(`every reconnect: ${String(cuts)} cuts, every text whole and told once`);
  });

  it.each(variants)('has every character once, or says that it begins anew: $name', async (variant) => {
    const places = variant.stream.frames.map((_, frame) => frame);
    const cases = places.flatMap((frame) => KINDS.map((kind) => ({ kind, frame })));
    const told = { restarts: 0 };
    const tried = from(cases).pipe(
      mergeMap(async ({ kind, frame }) => {
        const name = `${kind} before frame ${String(frame)}`;
        const key = `${String(variants.indexOf(variant))}.${kind}.${String(frame)}`;
        faults.set(key, { kind, at: { frame } });
        const reader = new Reader();
        let isVoid = false;
        const path = join(folder, `${key}.txt`);
        const receipt = await lastValueFrom(
          fromCall(variant.ask(server.baseURLs, { 'x-cut': key })).pipe(
            retryOnDisconnect({
              delay: { initialMs: 0 },
              onRetry: () => {
                isVoid = reader.hasContent;
              },
            }),
            tap((event) => {
              reader.hear(event);
            }),
            toFile(path, { fsync: false }),
          ),
        );
        expect(reader.text, name).toBe(variant.text);
        expect(await readFile(path, 'utf8'), name).toBe(variant.text);
        expect(receipt, name).toMatchObject({ outcome: 'complete', restarts: reader.restarts });
        told.restarts += reader.restarts;
        if (isResumable(variant)) {
          expect(reader, name).toMatchObject({ restarts: 0, delivered: variant.text.length });
        } else {
          expect(reader.restarts, name).toBe(isVoid ? 1 : 0);
        }
      }, 8),
      toArray(),
    );
    cuts += (await lastValueFrom(tried)).length;
    const how = isResumable(variant) ? 'resumed' : `asked again, ${String(told.restarts)} told by restart`;
    console.log(`every reconnect: ${variant.name}: ${String(cases.length)} cuts, ${how}`);
  });
});

function isResumable({ name }: Variant): boolean {
  return /^Infernet (jobs|native chat)$|^inference\.sh/.test(name);
}
