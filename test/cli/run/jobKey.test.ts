import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { jobKey } from '../../../src/cli/run/jobKey.js';
import { readJobs } from '../../../src/cli/run/readJobs.js';

const job = { provider: 'openai', model: 'm', prompt: 'Why?', output: 'a.txt' };

async function keyOf(fields: object): Promise<string> {
  const [read] = await readJobs({ name: 'a.jsonl', text: JSON.stringify(fields) });
  return jobKey(read!);
}

/** The same data with the members of its objects in another order. */
function reordered(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reordered);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([name, member]) => [name, reordered(member)]),
  );
}

describe('jobKey', () => {
  it('begins with the place, and ends with sixteen digits', async () => {
    expect(await keyOf(job)).toMatch(/^a\.txt#[0-9a-f]{16}$/);
  });

  it.each([
    { prompt: 'Why not?' },
    { model: 'n' },
    { provider: 'groq' },
    { mode: 'responses' },
    { system: 's' },
    { maxTokens: 1 },
    { temperature: 0 },
    { baseUrl: 'http://localhost:1/v1' },
    { format: 'json' },
    { output: 'b.txt' },
    { prompt: undefined, request: { messages: [{ role: 'user', content: 'Why?' }] } },
  ])('is another with %j', async (change) => {
    expect(await keyOf({ ...job, ...change })).not.toBe(await keyOf(job));
  });

  it.each([
    { id: 'x' },
    { keyEnv: 'OTHER_KEY' },
    { title: 'x' },
    { mode: 'chat' },
    { format: 'text' },
    { system: null },
  ])('is the same with %j', async (change) => {
    expect(await keyOf({ ...job, ...change })).toBe(await keyOf(job));
  });

  it('is the same wherever the model stands, and on whichever line', async () => {
    const request = { messages: [{ role: 'user', content: 'Why?' }] };
    const beside = await keyOf({ provider: 'openai', model: 'm', request, output: 'a' });
    expect(await keyOf({ provider: 'openai', request: { ...request, model: 'm' }, output: 'a' })).toBe(beside);
    const [read] = await readJobs({
      name: 'a.jsonl',
      text: `\n\n${JSON.stringify({ provider: 'openai', model: 'm', request, output: 'a' })}`,
    });
    expect(jobKey(read!)).toBe(beside);
  });

  it('does not mind the order of members, and minds every value', () => {
    const options = { provider: 'openai' } as const;
    const keyOfRequest = (request: unknown): string =>
      jobKey({ out: 'a', options, asks: { request: { request } }, format: 'text' });
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (one, other) => {
        expect(keyOfRequest(reordered(one))).toBe(keyOfRequest(one));
        const isSame =
          JSON.stringify(one) === JSON.stringify(other) || keyOfRequest(reordered(one)) === keyOfRequest(other);
        if (!isSame) expect(keyOfRequest(one)).not.toBe(keyOfRequest(other));
      }),
    );
    expect(keyOfRequest(['a', 'b'])).not.toBe(keyOfRequest(['b', 'a']));
    expect(keyOfRequest({ a: null })).not.toBe(keyOfRequest({}));
    expect(keyOfRequest('\ud800')).not.toBe(keyOfRequest('\ud801'));
  });

  it('is the same for a job that is run again from what it says of itself', async () => {
    const text = [
      JSON.stringify({ defaults: { provider: 'openai', model: 'm', output: '{n}-{title}.md', system: 's' } }),
      JSON.stringify({ prompt: 'a', title: 'x{1}/y' }),
      JSON.stringify({ prompt: 'b', title: 'z', id: 7, system: null, format: 'events' }),
      JSON.stringify({ request: { messages: [{ role: 'user', content: 'c' }] }, title: 'q', system: null }),
    ].join('\n');
    const first = await readJobs({ name: 'jobs.jsonl', text });
    const again = [...first].reverse().map(({ source }) => JSON.stringify({ ...source, failed: { code: 'ERR_HTTP' } }));
    const second = await readJobs({ name: 'failed.jsonl', text: again.join('\n') });
    expect([...second].reverse().map(jobKey)).toEqual(first.map(jobKey));
    expect([...second].reverse().map(({ id }) => id)).toEqual(first.map(({ id }) => id));
  });
});
