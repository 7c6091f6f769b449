import { lastValueFrom } from 'rxjs';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { LimitError, ProtocolError } from '../../src/errors.js';
import { requestJSON } from '../../src/sources/requestJSON.js';
import { startServer, type TestServer } from '../../src/testing/index.js';

let server: TestServer;
beforeEach(async () => {
  server = await startServer();
});
afterEach(() => server.close());

async function answered(body: string | Uint8Array): Promise<unknown> {
  const value = lastValueFrom(requestJSON(server.url, { method: 'POST', body: '{}' })).catch((error: unknown) => error);
  const exchange = await server.accept();
  exchange.respond({ headers: { 'content-type': 'application/json' } });
  const bytes = Buffer.from(body);
  // In two pieces, cut inside a character.
  await exchange.write(bytes.subarray(0, 6));
  await exchange.end(bytes.subarray(6));
  return value;
}

it('gives the one document of an answer, however it is cut', async () => {
  expect(await answered('{"a":"ž🐎"}')).toEqual({ a: 'ž🐎' });
});

it('gives nothing for an empty body', async () => {
  expect(await answered(' ')).toBeUndefined();
});

it('does not quote what is not JSON', async () => {
  const error = await answered('secret prompt, no JSON');
  expect(error).toBeInstanceOf(ProtocolError);
  expect(String(error)).not.toContain('secret');
});

it('has a limit', async () => {
  expect(await answered(new Uint8Array(17 * 1024 * 1024).fill(32))).toBeInstanceOf(LimitError);
});
