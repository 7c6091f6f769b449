import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { firstValueFrom } from 'rxjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ProviderError } from '../../src/errors.js';
import { infron } from '../../src/providers/index.js';
import { toFile } from '../../src/sinks/toFile.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { type Pace, type ProviderServer, startProviderServer } from '../../src/testing/index.js';
import type { Receipt } from '../../src/types.js';
import { recorded, recordings } from '../support/shared.js';

const chats = recordings('chat', 'completion');

function sha256(text: string | Buffer): string {
  return createHash('sha256').update(text).digest('hex');
}

describe.skipIf(chats.length === 0)('real streams of the chat dialect, over HTTP and into files', () => {
  let server: ProviderServer;
  let folder: string;
  beforeAll(async () => {
    server = await startProviderServer();
    folder = await mkdtemp(join(tmpdir(), 'millrace-'));
  });
  afterAll(async () => {
    await server.close();
    await rm(folder, { recursive: true });
    console.log(`recordings of the chat dialect: ${String(chats.length)}, each served three ways`);
  });

  /** What a stream leaves in its file, and its receipt. */
  async function write(
    name: string,
    body: Buffer,
    pace: Pace,
    chunkBytes?: number,
  ): Promise<[string, Receipt, unknown]> {
    server.next({ recording: { body, contentType: 'text/event-stream' }, pace, chunkBytes });
    const api = infron({ apiKey: 'key-of-the-tests', baseURL: server.baseURLs.infron });
    const call = api.chat({ model: 'm', messages: [{ role: 'user', content: 'Hello' }] });
    const path = join(folder, `${name.replaceAll(/[^\w]/g, '-')}.txt`);
    try {
      const receipt = await firstValueFrom(fromCall(call).pipe(toFile(path, { ifExists: 'overwrite' })));
      return [path, receipt, undefined];
    } catch (error) {
      const { receipt } = error as ProviderError;
      if (receipt === undefined) throw error;
      return [`${path}.partial`, receipt, error];
    }
  }

  describe.each<[string, Pace, number | undefined]>([
    ['at full speed', 'full', undefined],
    ['at full speed, in pieces of 61 bytes', 'full', 61],
    ['paced', { perFrameMs: 1 }, undefined],
  ])('%s', (_, pace, chunkBytes) => {
    it.each(chats)('$file', async (recording) => {
      const [path, receipt, error] = await write(recording.file, recorded(recording), pace, chunkBytes);
      expect(receipt.outcome).toBe(recording.outcome);
      expect(sha256(await readFile(path))).toBe(recording.text_sha256);
      expect(receipt.chars).toBe(recording.text_utf16);
      if (recording.outcome === 'failed') {
        expect(error).toBeInstanceOf(ProviderError);
        expect(sha256((error as ProviderError).received?.text ?? '')).toBe(recording.text_sha256);
      }
    });
  });
});

it.runIf(chats.length === 0)('finds no recordings beside the project, so real streams are not tried here', () => {
  expect(chats).toHaveLength(0);
});
