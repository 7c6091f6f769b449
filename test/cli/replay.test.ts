import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { StreamEvent } from 'millrace';
import { CapturePlace, CaptureReader } from '../../src/cli/captureReader.js';
import { dialectNamed, DIALECT_NAMES, DIALECTS } from '../../src/cli/dialects.js';
import * as everything from '../../src/providers/index.js';
import { bodyOf } from '../support/recordings.js';
import { recordings } from '../support/shared.js';
import { variants } from '../support/variants.js';
import { cli, type CLISettings, temporaryFolder } from './harness.js';

async function replay(capture: string | Uint8Array, flags: readonly string[] = [], settings: CLISettings = {}) {
  const file = join(await temporaryFolder(), 'capture');
  await writeFile(file, capture);
  const { stdout, stderr, exitCode } = cli(['replay', file, ...flags], settings);
  return { code: await exitCode, stdout: stdout.text, stderr: stderr.text };
}

function eventsOf(stdout: string): StreamEvent[] {
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as StreamEvent);
}

const chunk = (fields: object): string => `data: ${JSON.stringify({ object: 'chat.completion.chunk', ...fields })}\n\n`;
const piece = (content: string): string => chunk({ choices: [{ index: 0, delta: { content } }] });
const END = `${chunk({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] })}${chunk({ choices: [], usage: { prompt_tokens: 9, completion_tokens: 2, total_tokens: 11 } })}data: [DONE]\n\n`;
const WHOLE = `${piece('one ')}${piece('two')}${END}`;

describe.each(variants)('millrace replay: $name', ({ name, stream, text }) => {
  const body = stream.frames.join('');
  // It writes what it thinks into its text, and nothing shows that it does.
  const named = name.startsWith('PolarGrid') ? ['--dialect', 'polargrid'] : [];

  it('decodes a capture, and is told its dialect only where nothing shows it', async () => {
    const { code, stdout, stderr } = await replay(body, [...named, '--text']);
    expect({ code, stdout }).toEqual({ code: 0, stdout: text });
    expect(stderr).toMatch(/^complete \(.*\) · \d+ frames, .* tokens .*\n$/);
  });

  it('prints the same events as lines of JSON, the last of them the finish', async () => {
    const { code, stdout } = await replay(`HTTP/1.1 200 OK\r\nserver: x\r\n\r\n${body}`, [...named, '--json']);
    expect(code).toBe(0);
    const events = eventsOf(stdout);
    expect(events.map((event) => (event.type === 'text' ? event.text : '')).join('')).toBe(text);
    expect(events.at(-1)?.type).toBe('finish');
  });

  it('calls it interrupted where it is cut before its proof, after what came', async () => {
    const cut = stream.frames.slice(0, stream.provenFrame).join('');
    const { code, stdout, stderr } = await replay(cut, [...named, '--text']);
    expect(code).toBe(3);
    expect(text.startsWith(stdout)).toBe(true);
    expect(stderr).toMatch(
      new RegExp(`^interrupted · .*\\nmillrace: .*at byte ${String(Buffer.byteLength(cut))}\\)\\n$`),
    );
  });
});

describe('what millrace replay prints', () => {
  it('is a line for each event, and on stderr how it ended', async () => {
    const { code, stdout, stderr } = await replay(`: hello\n\n${WHOLE}`);
    expect(code).toBe(0);
    expect(stdout).toBe(
      [
        'heartbeat        hello',
        'text             "one "',
        'text             "two"',
        'usage            9 in, 2 out, 11 in all',
        'finish           stop ("stop")',
        '',
      ].join('\n'),
    );
    const bytes = String(Buffer.byteLength(`: hello\n\n${WHOLE}`));
    expect(stderr).toBe(
      `complete (stop) · 5 frames, 5 events, 7 characters of text · ${bytes} bytes · tokens 9 in, 2 out, 11 in all · chat as server-sent events\n`,
    );
  });

  it('fits a terminal, where a model cannot move the cursor', async () => {
    const long = 'word '.repeat(40);
    const { stdout } = await replay(`${piece(`${long}\u009b2J\u001b[2J`)}${END}`, [], {
      terminal: { columns: 60, rows: 20 },
      env: { NO_COLOR: '1' },
    });
    const lines = stdout.split('\n');
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThan(60);
    expect(lines.filter((line) => line.startsWith(' '.repeat(17))).length).toBeGreaterThan(3);
    expect(stdout).not.toContain('\u009b');
    expect(stdout).not.toContain('\u001b');
  });

  it('shortens what is very long, and tells how long it is', async () => {
    const { stdout } = await replay(`${piece('x'.repeat(100_000))}${END}`);
    expect(stdout.length).toBeLessThan(3000);
    expect(stdout).toContain('(100002 characters, --json shows all)');
  });

  it('is nothing but text where that is asked for', async () => {
    expect((await replay(WHOLE, ['--text'])).stdout).toBe('one two');
    const { code, stderr } = await replay(WHOLE, ['--text', '--json']);
    expect(code).toBe(2);
    expect(stderr).toMatch(/--json.*--text/);
  });

  it('comes from standard input too, with a pause behind each frame', async () => {
    for (const args of [['-'], []]) {
      const { stdout, exitCode } = cli(['replay', ...args, '--text', '--pace', '1'], { stdin: WHOLE });
      expect(await exitCode).toBe(0);
      expect(stdout.text).toBe('one two');
    }
  });

  it('stops on Ctrl-C while it pauses', async () => {
    const { stdout, stop, exitCode } = cli(['replay', '-', '--text', '--pace', '1000000'], { stdin: WHOLE });
    await stdout.transcript.waitFor(/one/);
    stop();
    expect(await exitCode).toBe(130);
    expect(stdout.text).toBe('one ');
  });
});

describe('where millrace replay says that a capture broke', () => {
  it.each([
    { what: 'between frames', cut: `${piece('one ')}${piece('two')}`, rest: '' },
    {
      what: 'inside of a frame',
      cut: `${piece('one ')}${piece('two')}data: {"cho`,
      rest: ', the last 11 bytes a frame that is not whole',
    },
    { what: 'behind a comment', cut: `${piece('one ')}${piece('two')}: hello\n`, rest: '' },
  ])('tells frame and byte of a cut $what', async ({ cut, rest }) => {
    const { code, stdout, stderr } = await replay(cut, ['--text']);
    expect({ code, stdout }).toEqual({ code: 3, stdout: 'one two' });
    expect(stderr).toContain(`(after frame 2, at byte ${String(Buffer.byteLength(cut))}${rest})`);
    expect(stderr).toMatch(/· 2 frames, \d events, 7 characters of text/);
  });

  it('tells frame and bytes of a malformed frame, heads and comments counted', async () => {
    const before = `HTTP/1.1 200 OK\r\ndate: now\r\n\r\n: hello\n\n${piece('one')}`;
    const { code, stdout, stderr } = await replay(`${before}data: {oops\n\n${END}`, ['--text']);
    expect({ code, stdout }).toEqual({ code: 1, stdout: 'one' });
    const from = Buffer.byteLength(before);
    expect(stderr).toContain(`(frame 2, bytes ${String(from)} to ${String(from + 'data: {oops\n\n'.length)})`);
    expect(stderr).not.toContain('oops');
    expect(stderr).not.toContain('onMalformed');
  });

  it('tells a failure that the stream reports', async () => {
    const { code, stderr } = await replay(`${piece('one')}data: {"error":{"message":"out of memory"}}\n\n`);
    expect(code).toBe(1);
    expect(stderr).toMatch(/millrace: .*out of memory \(frame 2, bytes \d+ to \d+\)/);
  });

  it('tells line and bytes in NDJSON', async () => {
    const line = (content: string, done = false): string =>
      `${JSON.stringify({ model: 'm', message: { role: 'assistant', content }, done, ...(done && { done_reason: 'stop' }) })}\n`;
    const whole = `${line('ä')}${line('b')}${line('', true)}`;
    expect(await replay(whole, ['--text'])).toMatchObject({ code: 0, stdout: 'äb' });
    const bad = await replay(`${line('ä')}{oops}\n`, ['--dialect', 'ollama']);
    expect(bad.code).toBe(1);
    const from = Buffer.byteLength(line('ä'));
    expect(bad.stderr).toContain(`(frame 2, bytes ${String(from)} to ${String(from + 7)})`);
    const cut = await replay(`${line('ä')}{"model"`, ['--dialect', 'ollama']);
    expect(cut.code).toBe(3);
    expect(cut.stderr).toContain(
      `(after frame 1, at byte ${String(from + 8)}, the last 8 bytes a frame that is not whole)`,
    );
  });
});

describe('what millrace replay takes', () => {
  it.each([
    ['HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n'],
    ['HTTP/2 200 \n\n'],
    ['HTTP/1.1 302 Found\r\nlocation: /\r\n\r\nHTTP/1.1 200 OK\r\n\r\n'],
    ['HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n'],
    ['HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.1 200 OK\r\n\r\n'],
    ['\uFEFF'],
    ['\n\n'],
  ])('a body behind %j', async (head) => {
    for (const flags of [[], ['--dialect', 'chat']]) {
      expect(await replay(head + WHOLE, [...flags, '--text'])).toMatchObject({ code: 0, stdout: 'one two' });
    }
  });

  it('lines that end in CR LF, or CR', async () => {
    for (const end of ['\r\n', '\r']) {
      expect(await replay(WHOLE.replaceAll('\n', end), ['--text'])).toMatchObject({ code: 0, stdout: 'one two' });
    }
  });

  it('an answer of HTTP that is an error, and tells its words', async () => {
    const { code, stdout, stderr } = await replay(
      'HTTP/1.1 429 Too Many\r\n\r\n{"error":{"message":"slow down","type":"rate"}}',
    );
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toBe('millrace: the capture is HTTP 429 and no stream: rate: slow down\n');
    expect((await replay('HTTP/1.1 502 Bad\r\n\r\n<html>')).stderr).toBe(
      'millrace: the capture is HTTP 502 and no stream\n',
    );
  });

  it.each([
    ['', ['--dialect', 'chat'], 3, /after frame 0, at byte 0/],
    ['', [], 3, /^millrace: the capture is empty\n$/],
    ['HTTP/1.1 200 OK\r\n\r\n', [], 3, /the capture is empty/],
    [
      'hello\nworld\n',
      [],
      2,
      /nothing in the capture shows its dialect: name it with --dialect, one of chat, responses/,
    ],
    [gzipSync(WHOLE), [], 2, /compressed: gunzip it first/],
    [gzipSync(WHOLE), ['--dialect', 'chat'], 2, /compressed/],
    [WHOLE, ['--dialect', 'chta'], 2, /Allowed choices are chat/],
  ] as const)('nothing else (%#)', async (capture, flags, code, says) => {
    const run = await replay(capture, flags);
    expect(run.code).toBe(code);
    expect(run.stderr).toMatch(says);
  });

  it('a file that is there', async () => {
    const folder = await temporaryFolder();
    for (const [file, says] of [
      [join(folder, 'none'), /none cannot be read: it is not there\n$/],
      [folder, /cannot be read: EISDIR\n$/],
    ] as const) {
      const { stderr, exitCode } = cli(['replay', file]);
      expect(await exitCode).toBe(2);
      expect(stderr.text).toMatch(says);
    }
    const { stderr, exitCode } = cli(['replay']);
    expect(await exitCode).toBe(2);
    expect(stderr.text).toMatch(/which capture\?/);
  });

  it('a single answer of the gateway, on as many lines as it has', async () => {
    const answer = JSON.stringify({ output: 'one\ntwo' }, null, 2);
    expect(await replay(answer, ['--dialect', 'gateway-generate', '--text'])).toMatchObject({
      code: 0,
      stdout: 'one\ntwo',
    });
  });
});

describe('the dialects of millrace replay', () => {
  it('are all that there are, by the names that they have', () => {
    const exported = Object.keys(everything).filter((name) => name.endsWith('Dialect') && name !== 'detectDialect');
    expect(DIALECTS.size).toBe(exported.length + 1); // and millrace's own
    for (const [name, { make }] of DIALECTS) expect(make().name).toBe(name);
    for (const name of DIALECT_NAMES) expect(dialectNamed(name)?.name).toBe(name);
    expect(DIALECT_NAMES).toEqual(expect.arrayContaining(['polargrid', 'groq', 'azure']));
  });
});

describe('a capture’s reader', () => {
  const heads = fc.constantFrom('', 'HTTP/1.1 200 OK\r\na: b\r\n\r\n');
  const lines = fc.constantFrom('data: {"a":"ž🐎"}\n\n', ': c\n', 'data: 1\r\n\r\n', '\n', 'event: x\ndata: y\n\n');

  it('gives every byte once, however it is cut', async () => {
    await fc.assert(
      fc.asyncProperty(
        heads,
        fc.array(lines),
        fc.array(fc.nat(40)),
        fc.constantFrom('line' as const, 'all' as const),
        async (head, all, cuts, enough) => {
          const bytes = Buffer.from(head + all.join(''));
          const pieces: Uint8Array[] = [];
          let at = 0;
          for (const cut of [...cuts, bytes.length]) {
            pieces.push(bytes.subarray(at, at + cut));
            at += cut;
          }
          const reader = new CaptureReader(streamOf(pieces));
          const { headBytes, body, status } = await reader.look(enough);
          expect({ headBytes, status }).toEqual({ headBytes: head.length, status: head === '' ? undefined : 200 });
          expect(bytes.subarray(headBytes).subarray(0, body.length).equals(body)).toBe(true);
          const got: Uint8Array[] = [];
          for await (const each of reader.pieces(headBytes, 'sse', 0, new AbortController().signal)) {
            expect([...each].slice(0, -1).includes(10)).toBe(false);
            got.push(each);
          }
          expect(Buffer.concat(got).equals(bytes.subarray(headBytes))).toBe(true);
        },
      ),
    );
  });

  it('closes what it reads when it is left', async () => {
    let isClosed = false;
    const reader = new CaptureReader(
      (async function* () {
        try {
          for (;;) yield await Promise.resolve(Buffer.from('data: x\n\n'));
        } finally {
          isClosed = true;
        }
      })(),
    );
    await reader.look('line');
    for await (const _ of reader.pieces(0, 'sse', 0, new AbortController().signal)) break;
    expect(isClosed).toBe(true);
  });
});

describe('CapturePlace', () => {
  it('counts no byte of a comment to the frame behind it', () => {
    const place = new CapturePlace(100, 'sse');
    for (const line of [': c\n', '\n', 'data: x\n', '\n']) {
      place.onPiece(Buffer.from(line));
    }
    place.onEvent({ type: 'event', event: 'message', data: 'x', id: '' });
    expect(place.frame).toEqual({ from: 105, to: 114 });
    expect({ offset: place.offset, unfinished: place.unfinished }).toEqual({ offset: 114, unfinished: 0 });
    place.onPiece(Buffer.from('da'));
    expect(place.unfinished).toBe(2);
  });
});

async function* streamOf(pieces: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  for (const each of pieces) yield await Promise.resolve(each);
}

const KNOWN = ['anthropic', 'chat', 'cohere', 'completion', 'gemini', 'replicate', 'responses'];

// The recordings stand beside the project, where it is developed.
describe.skipIf(recordings().length === 0)('millrace replay of a recording', () => {
  it.each(recordings(...KNOWN))('tells the text and the outcome of $file', async (recording) => {
    const { code, stdout } = await replay(bodyOf(recording), ['--text']);
    expect(code).toBe(recording.outcome === 'complete' ? 0 : 1);
    expect(createHash('sha256').update(stdout).digest('hex')).toBe(recording.text_sha256);
  });
});
