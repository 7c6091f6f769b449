import { describe, expect, it } from 'vitest';
import { fromHTTP } from '../../src/sources/fromHTTP.js';

describe('a body that is in memory', () => {
  it('leaves timers their turns while it is read', async () => {
    const chunk = new Uint8Array(1);
    let given = 0;
    const body = new ReadableStream<Uint8Array>(
      {
        pull: (controller) => {
          given += 1;
          controller.enqueue(chunk);
        },
      },
      { highWaterMark: 0 },
    );
    const answer = new Response(body, { headers: { 'content-type': 'text/event-stream' } });
    await new Promise<void>((resolve) => {
      // Endless: only a timer can end it.
      const reading = fromHTTP('http://127.0.0.1/', { fetch: () => Promise.resolve(answer) }).subscribe();
      setTimeout(() => {
        reading.unsubscribe();
        resolve();
      }, 1);
    });
    expect(given).toBeGreaterThan(0);
  });
});
