import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { concat, lastValueFrom, NEVER, of, Subject, take, takeUntil, throwError } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { fromCall, type StreamEvent, toFile } from 'millrace';
import { startProviderServer } from 'millrace/testing';
import type { OutputFormat } from '../../../src/cli/run/fileJob.js';
import { formatOutput } from '../../../src/cli/run/formatOutput.js';
import { providerCall } from '../../../src/cli/providerCall.js';
import { marbles } from '../../support/marbles.js';

const place = { index: 0, name: 'output' };
const a: StreamEvent = { type: 'text', text: 'a', ...place };
const b: StreamEvent = { type: 'text', text: 'b', ...place };
const r: StreamEvent = { type: 'restart', attempt: 2, because: 'cut', discard: { chars: 1 } };
const o: StreamEvent = { type: 'output', value: { n: [1] }, final: true };
const f: StreamEvent = { type: 'finish', reason: 'stop' };
const w: StreamEvent = { type: 'warning', code: 'c', message: 'm' };
const events = { a, b, r, o, f, w };
const line = (event: StreamEvent): string => `${JSON.stringify(event)}\n`;
const lines = { A: line(a), B: line(b), O: line(o), F: line(f), W: line(w), r };

const nothing = {
  text: '',
  thinking: '',
  refusal: '',
  toolCalls: [],
  output: null,
  media: [],
  usage: null,
  finish: null,
  warnings: [],
};
const document = (said: object): string => `${JSON.stringify({ ...nothing, ...said }, null, 2)}\n`;

async function parsed(format: OutputFormat, ...source: readonly StreamEvent[]): Promise<unknown> {
  const written = await lastValueFrom(of(...source).pipe(formatOutput(format)));
  return typeof written === 'string' ? (JSON.parse(written) as unknown) : written;
}

describe('formatOutput text', () => {
  it(
    'passes events, and shows an output as JSON where there was no text',
    marbles((m) => {
      const source = m.cold(' -o-f-|', events);
      const result = '        -j-f-|';
      m.expect(source.pipe(formatOutput('text'))).toBeObservable(result, { j: '{\n  "n": [\n    1\n  ]\n}\n', f });
      m.expect(source).toHaveSubscriptions('^----!');
    }),
  );

  it(
    'passes an output as an event where text came, and shows it again after a restart',
    marbles((m) => {
      const source = m.cold(' -a-o-r-o-#', events);
      const result = '        -a-o-r-j-#';
      m.expect(source.pipe(formatOutput('text'))).toBeObservable(result, {
        ...events,
        j: '{\n  "n": [\n    1\n  ]\n}\n',
      });
    }),
  );

  it('remembers nothing from one subscription to the next', async () => {
    const format = formatOutput('text');
    await lastValueFrom(of(a, f).pipe(format));
    expect(await lastValueFrom(of(o).pipe(format))).toBe('{\n  "n": [\n    1\n  ]\n}\n');
  });

  it('shows a string as it is, and does not count another answer as text', async () => {
    const other: StreamEvent = { type: 'text', text: 'x', index: 1, name: 'output', alternative: true };
    const output: StreamEvent = { type: 'output', value: 'done', final: true };
    expect(await lastValueFrom(of(other, output).pipe(formatOutput('text')))).toBe('done');
  });
});

describe('formatOutput events', () => {
  it(
    'writes each event as a line, and passes a restart as it is',
    marbles((m) => {
      const source = m.cold(' -a-w-r-b-(f|)', events);
      const result = '        -A-W-r-B-(F|)';
      m.expect(source.pipe(formatOutput('events'))).toBeObservable(result, lines);
    }),
  );

  it(
    'passes an error on, and stops its source when it is left',
    marbles((m) => {
      const failing = m.cold('-a-#', events);
      m.expect(failing.pipe(formatOutput('events'))).toBeObservable('-A-#', lines);
      const source = m.cold(' -a-a-a', events);
      m.expect(source.pipe(formatOutput('events')), '--!').toBeObservable('-A', lines);
      m.expect(source).toHaveSubscriptions('^-!');
    }),
  );
});

describe('formatOutput json', () => {
  it(
    'emits one document, at the end',
    marbles((m) => {
      const source = m.cold(' -a-b-w-f---|', events);
      const result = '        -----------(d|)';
      const d = document({
        text: 'ab',
        finish: { reason: 'stop' },
        warnings: [{ code: 'c', message: 'm' }],
      });
      m.expect(source.pipe(formatOutput('json'))).toBeObservable(result, { d });
      m.expect(source).toHaveSubscriptions('^----------!');
    }),
  );

  it(
    'emits a document where nothing came',
    marbles((m) => {
      m.expect(m.cold('---|', events).pipe(formatOutput('json'))).toBeObservable('---(d|)', { d: document({}) });
      m.expect(NEVER.pipe(formatOutput('json'))).toBeObservable('-');
    }),
  );

  it(
    'emits what came before an error, and nothing where nothing came',
    marbles((m) => {
      m.expect(m.cold('-a-#', events).pipe(formatOutput('json'))).toBeObservable('---(d#)', {
        d: document({ text: 'a' }),
      });
      m.expect(m.cold('---#', events).pipe(formatOutput('json'))).toBeObservable('---#');
    }),
  );

  it(
    'forgets what a restart takes back, and counts it',
    marbles((m) => {
      const source = m.cold(' -a-w-r-b-(f|)', events);
      const result = '        ---------(d|)';
      const d = `${JSON.stringify({ ...nothing, text: 'b', finish: { reason: 'stop' }, restarts: 1 }, null, 2)}\n`;
      m.expect(source.pipe(formatOutput('json'))).toBeObservable(result, { d });
    }),
  );

  it(
    'emits nothing when it is left, and stops its source',
    marbles((m) => {
      const source = m.cold(' -a-a-a|', events);
      m.expect(source.pipe(formatOutput('json')), '---!').toBeObservable('-');
      m.expect(source).toHaveSubscriptions('^--!');
    }),
  );

  it('keeps what is asked twice apart, and can be stopped by what it emits', async () => {
    const format = formatOutput('json');
    expect(await lastValueFrom(of(a).pipe(format))).toBe(document({ text: 'a' }));
    expect(await lastValueFrom(of(b).pipe(format, take(1)))).toBe(document({ text: 'b' }));
  });

  it('stands a reader that leaves while it is told', () => {
    const left = new Subject<void>();
    const seen: unknown[] = [];
    concat(of(a), of(f))
      .pipe(formatOutput('json'), takeUntil(left))
      .subscribe((item) => {
        seen.push(item);
        left.next();
      });
    expect(seen).toHaveLength(1);
  });

  it('holds everything that an answer is', async () => {
    const call = { index: 0, id: 'c1', name: 'look', arguments: { q: 1 }, argumentsText: '{"q":1}' };
    const media = { kind: 'image', content: 'aGk=', index: 2, name: 'image' };
    const usage = { inputTokens: 1, outputTokens: 2, provenance: 'reported' } as const;
    expect(
      await parsed(
        'json',
        { type: 'thinking', text: 'hm', ...place, name: 'thinking' },
        { type: 'text', text: 'one', ...place },
        { type: 'text', text: 'two', index: 1, name: 'output' },
        { type: 'text', text: 'other', index: 3, name: 'output', alternative: true },
        { type: 'refusal', text: 'no', ...place },
        { type: 'tool-call', ...call },
        { type: 'tool-result', index: 0, id: 'c1', name: 'look', result: 5 },
        { type: 'media', ...media },
        { type: 'usage', ...usage },
        { type: 'output', value: 3, final: true },
        { type: 'finish', reason: 'other', rawReason: 'odd' },
      ),
    ).toEqual({
      text: 'one',
      outputs: [
        { index: 0, name: 'output', content: 'one' },
        { index: 1, name: 'output', content: 'two' },
        { index: 3, name: 'output', content: 'other', alternative: true },
      ],
      thinking: 'hm',
      refusal: 'no',
      toolCalls: [call],
      toolResults: [{ index: 0, id: 'c1', name: 'look', result: 5 }],
      output: 3,
      media: [media],
      usage,
      finish: { reason: 'other', rawReason: 'odd' },
      warnings: [],
    });
  });
});

describe('formatOutput above toFile', () => {
  async function folder(): Promise<string> {
    const made = await mkdtemp(join(tmpdir(), 'millrace-format-'));
    onTestFinished(() => rm(made, { recursive: true, force: true }));
    return made;
  }

  it.each(['text', 'events', 'json'] as const)(
    'writes %s as a file that is complete when the answer is',
    async (format) => {
      const server = await startProviderServer();
      onTestFinished(() => server.close());
      const path = join(await folder(), 'a');
      const asked = { provider: 'polargrid', model: 'm', prompt: 'hi', apiKey: 'k' } as const;
      const call = providerCall({ ...asked, baseUrl: `${server.url}/polargrid/v1` });
      const seen: StreamEvent[] = [];
      const receipt = await lastValueFrom(fromCall(call).pipe(formatOutput(format), toFile(path)));
      await lastValueFrom(fromCall(call)).then((event) => seen.push(event));
      expect(receipt).toMatchObject({ outcome: 'complete', finish: { reason: 'stop' }, provider: 'polargrid' });
      const text = await readFile(path, 'utf8');
      if (format === 'events') expect(JSON.parse(text.trim().split('\n').at(-1) ?? '')).toEqual(seen[0]);
      if (format === 'json') expect(JSON.parse(text)).toMatchObject({ finish: { reason: 'stop' } });
      expect(text.length).toBeGreaterThan(0);
    },
  );

  it('takes back what a restart voids', async () => {
    const path = join(await folder(), 'a');
    await lastValueFrom(of(a, r, b, f).pipe(formatOutput('events'), toFile(path)));
    expect(await readFile(path, 'utf8')).toBe(line(b) + line(f));
  });

  it('leaves the document of what came in the partial file', async () => {
    const path = join(await folder(), 'a');
    const broken = concat(
      of(a),
      throwError(() => new Error('cut')),
    );
    await expect(lastValueFrom(broken.pipe(formatOutput('json'), toFile(path)))).rejects.toThrow('cut');
    expect(await readFile(`${path}.partial`, 'utf8')).toBe(document({ text: 'a' }));
  });
});
