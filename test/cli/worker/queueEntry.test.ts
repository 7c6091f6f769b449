import * as fc from 'fast-check';
import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { UsageError } from '../../../src/cli/exitCodes.js';
import { providerCall } from '../../../src/cli/providerCall.js';
import type { FileJob } from '../../../src/cli/run/fileJob.js';
import { jobKey } from '../../../src/cli/run/jobKey.js';
import { type JobFormat, readJobs } from '../../../src/cli/run/readJobs.js';
import { runSettings } from '../../../src/cli/run/runSettings.js';
import { entryKey, readEntry, writeEntry } from '../../../src/cli/worker/queueEntry.js';
import { job } from '../run/fixtures.js';

const NO_CONFIG = {
  file: undefined,
  isFound: false,
  providers: new Map(),
  defaults: {},
  run: {},
  hasVariable: () => false,
};
const SETTINGS = runSettings({}, NO_CONFIG);

/** As it comes out of the queue. */
const travelled = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

/** What is sent for a job. */
function requestOf({ options, asks }: Pick<FileJob, 'options' | 'asks'>): string {
  const call = providerCall({ ...options, ...asks, apiKey: 'any' });
  const { url, body } = call.submit ?? call.stream('');
  return JSON.stringify([url, body]);
}

const JOBS: readonly (readonly [JobFormat, string])[] = [
  [
    'yaml',
    `defaults: { provider: polargrid, model: m }
jobs:
  - { id: 2024-01-01, prompt: 2024-01-01, temperature: 0.30000000000000004, maxTokens: 0x10, due: 2024-01-01T00:00:00Z }
  - id: 12345678901234567890
    prompt: "line\\u2028two \\ud800 alone"
    input: ~
  - id: big
    request: { model: m, messages: [{ role: user, content: x }], seed: 9007199254740993, nothing: null, empty: {}, list: [[], 1e-7] }
  - { prompt: a, enableThinking: true, region: nyc-01, keyEnv: MY_KEY, format: events, output: 'deep/{n}.jsonl' }`,
  ],
  [
    'jsonl',
    '{"id":"a","provider":"inferencesh","app":"a/b@1","input":{"n":1.5,"__proto__":{"y":1},"deep":{"__proto__":{"x":1}}},"prompt":"x"}\n',
  ],
  ['csv', 'id,provider,model,prompt,temperature\n1,openai,gpt-4o,"a ""b"",\nc",0.5\n'],
];

describe('a job in a queue', () => {
  it.each(JOBS)('is what it was in its file: %s', async (format, text) => {
    const jobs = await readJobs({ name: `jobs.${format}`, text: Readable.from([text]), format });
    for (const each of jobs) {
      const read = readEntry(travelled(writeEntry(each, SETTINGS, '')));
      const { source: _, ...rest } = each;
      expect(read.job).toEqual(rest);
      // The worker asks for the same, byte for byte.
      expect(requestOf(read.job)).toBe(requestOf(rest));
      const { concurrency: __, perHost: ___, maxCost: ____, maxTokens: _____, ...settings } = SETTINGS;
      expect(read.settings).toEqual(settings);
    }
  });

  it('has no key, no budget, and nothing else that a worker does not need', () => {
    const secret = { ...job('a'), apiKey: 'sk-secret', options: { ...job('a').options } };
    const settings = { ...SETTINGS, maxCost: 1, apiKey: 'sk-secret' };
    const written = writeEntry({ ...secret, source: { id: 'a', notes: 'sk-secret' } }, settings, '');
    expect(JSON.stringify(written)).not.toContain('sk-secret');
    expect(Object.keys(written)).toEqual(['version', 'job', 'settings']);
    expect(Object.keys(written['job'] as object)).not.toContain('source');
  });

  it('has its place below the folder of the workers, and so has its name', () => {
    const each = job('a', { out: 'x/a.md' });
    expect(readEntry(travelled(writeEntry(each, SETTINGS, 'june/letters'))).job.out).toBe('june/letters/x/a.md');
    expect(entryKey(each, '')).toBe(jobKey(each));
    expect(entryKey(each, 'june')).not.toBe(entryKey(each, 'july'));
    expect(entryKey(each, 'june')).toBe(entryKey({ ...each, line: 7, id: 'b', keyEnv: 'K' }, 'june'));
  });

  it.each([
    ['nothing', null, 'it has no version'],
    ['a text', 'prompt', 'it has no version'],
    ['a list', [], 'it has no version'],
    ['a version that is none', { version: '1' }, 'it has no version'],
    [
      'another version',
      { version: 7 },
      'it is a job of version 7, and this worker knows 1: workers and millrace run must be of one release',
    ],
    ['no job', { version: 1 }, 'it is no job of millrace run: job: '],
  ])('is refused where it is %s', (_, value, message) => {
    expect(() => readEntry(value)).toThrow(UsageError);
    expect(() => readEntry(value)).toThrow(message);
  });

  it.each([
    ['options.provider', { options: { provider: 'nobody' } }, 'is a provider that this worker does not know'],
    ['options.model', { options: { provider: 'polargrid', model: '' } }, 'must not be empty'],
    ['options.enableThinking', { options: { provider: 'polargrid', enableThinking: false } }, 'must be true'],
    ['asks', { asks: { prompt: 'private', request: {} } }, 'must be a prompt or a request'],
    ['asks', { asks: {} }, 'must be a prompt or a request'],
    ['keyEnv', { keyEnv: 'sk-private' }, 'must be the name of an environment variable'],
    ['format', { format: 'private' }, 'must be text, json or events'],
    ['out', { out: '' }, 'must not be empty'],
    ['line', { line: 1.5 }, 'must be a whole number'],
  ])('is refused for a wrong job.%s, without a word of what it holds', (path, more, problem) => {
    const written = {
      ...writeEntry(job('a'), SETTINGS, ''),
      job: { ...(writeEntry(job('a'), SETTINGS, '')['job'] as object), ...more },
    };
    expect(() => readEntry(travelled(written))).toThrow(`it is no job of millrace run: job.${path}: ${problem}`);
    expect(() => readEntry(travelled(written))).not.toThrow(/private/);
  });

  it('never makes anything else than a job or a UsageError of what comes', () => {
    const valid = travelled(writeEntry(job('a'), SETTINGS, '')) as Readonly<Record<string, object>>;
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom('version', 'job', 'settings'), (value, name) => {
        for (const one of [value, { ...valid, [name]: value }]) {
          try {
            readEntry(one);
          } catch (error) {
            expect(error).toBeInstanceOf(UsageError);
          }
        }
      }),
    );
  });

  it('keeps any request as it is', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (request) => {
        const each: FileJob = job('a', { asks: { request } });
        const read = readEntry(travelled(writeEntry(each, SETTINGS, '')));
        expect(JSON.stringify(read.job.asks)).toBe(JSON.stringify(travelled({ request })));
      }),
    );
  });
});
