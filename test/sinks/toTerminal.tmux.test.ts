import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { StreamEvent } from '../../src/types.js';
import type { TerminalCommand } from '../support/terminalProgram.js';
import { bundleTerminalProgram, hasTmux, startInTmux, type TmuxSession, type TmuxSettings } from '../support/tmux.js';

const SPINNER = /^[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] /u;
const ENGLISH = 'The mill stands where the river bends, and its wheel has turned since before anybody counted. ';
const CHINESE = '磨坊矗立在河流转弯处,🚀它的轮子👩‍🚀从没有人计数之前就开始转动🌾。';

const open = (...keys: readonly string[]): TerminalCommand[] =>
  keys.map((key) => ({ do: 'open', key, maxFramesPerSecond: 30 }));
const next = (key: string, event: StreamEvent): TerminalCommand => ({ do: 'next', key, event });
const text = (key: string, content: string): TerminalCommand =>
  next(key, { type: 'text', text: content, index: 0, name: 'output' });
const log = (key: string, message: string): TerminalCommand => next(key, { type: 'log', message });
const complete = (key: string): TerminalCommand => ({ do: 'complete', key });
const rowsOf = (lines: readonly string[]): string[] =>
  lines.filter((line) => SPINNER.test(line)).map((line) => line.replace(SPINNER, '* '));

/** Three streams: an answer in English, one in Chinese, and a task. */
const THREE: readonly TerminalCommand[] = [
  ...open('guide', '磨坊', 'paint'),
  text('guide', ENGLISH.repeat(3)),
  text('磨坊', CHINESE.repeat(3)),
  next('paint', { type: 'status', status: 'running', terminal: false }),
  next('paint', { type: 'progress', current: 31, total: 50, message: 'sampling step 31 of 50' }),
];

describe.skipIf(!hasTmux)(`toTerminal on a real terminal${hasTmux ? '' : ' (skipped: there is no tmux)'}`, () => {
  let folder: string;
  let program: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'millrace-terminal-'));
    program = join(folder, 'program.mjs');
    await bundleTerminalProgram(program);
  });
  afterAll(() => rm(folder, { recursive: true }));

  const start = (settings?: TmuxSettings): Promise<TmuxSession> => startInTmux(program, settings);
  const startThree = async (settings?: TmuxSettings): Promise<TmuxSession> => {
    const session = await start(settings);
    // A screen that is full, as one in use is.
    session.tell(
      ...Array.from({ length: 30 }, (_, n): TerminalCommand => ({ do: 'print', text: `before ${String(n)}` })),
    );
    session.tell(...THREE);
    await session.until((lines) => lines.some((line) => line.includes('62 %')));
    return session;
  };

  it('shows three streams at once, one of which fails', async () => {
    const session = await startThree({ columns: 90 });
    expect(
      rowsOf(session.lines()).map((row) => row.replace(/ +\d+\/s/, '').replace(/ +first [\d.]+ s/, '  first T')),
    ).toEqual([
      expect.stringMatching(/^\* guide {2}streaming {2}282 chars {2}first T {2}….*anybody counted\.$/),
      expect.stringMatching(/^\* 磨坊 {3}streaming {2}114 chars {2}first T {2}….*👩‍🚀从没有人计数之前就开始转动🌾。$/u),
      expect.stringMatching(/^\* paint {2}running {4}━+─+ {2}62 % {2}sampling step 31 of 50$/),
    ]);
    expect(session.isCursorShown()).toBe(false);

    session.tell(
      log('paint', 'cooling down\nout of memory'),
      { do: 'fail', key: 'paint', message: 'the GPU has caught fire' },
      complete('guide'),
    );
    await session.until((lines) => rowsOf(lines).length === 1);
    expect(
      session
        .lines()
        .slice(-6)
        .map((line) => line.replace(/ {2}\d.*/, '')),
    ).toEqual([
      '│ paint  cooling down',
      '│ paint  out of memory',
      '✗ paint  failed',
      '         the GPU has caught fire',
      '✓ guide  complete',
      expect.stringContaining('磨坊  streaming'),
    ]);
    expect(session.isCursorShown()).toBe(false);
    session.tell(complete('磨坊'));
    await session.until((lines) => lines.at(-1)?.startsWith('✓ 磨坊  complete') === true);
    expect(session.isCursorShown()).toBe(true);
    expect(session.allLines().filter((line) => SPINNER.test(line))).toEqual([]);
    session.tell({ do: 'exit', code: 0 });
    await session.until((lines) => lines.at(-1) === 'ended by 0');
  });

  it('draws its rows anew when the window is made narrower and wider', async () => {
    const session = await startThree();
    const before = session.allLines().filter((line) => line.startsWith('before'));
    for (const columns of [40, 120, 33, 80]) {
      session.resize(columns);
      session.tell(log('paint', `at ${String(columns)}`));
      await session.until(
        (lines) => lines.at(-4) === `│ paint  at ${String(columns)}` && rowsOf(lines.slice(-3)).length === 3,
      );
      const lines = session.allLines();
      expect(lines.filter((line) => SPINNER.test(line))).toHaveLength(3);
      expect(lines.filter((line) => line.startsWith('before'))).toEqual(before);
      // Nothing else is there: no half of a row that the terminal has broken.
      expect(lines.filter((line) => !/^(ready|before|│ paint {2}at) /.test(line))).toHaveLength(3);
    }
  });

  it('leaves nothing behind while somebody pulls at the window', async () => {
    const session = await start();
    session.tell(
      ...Array.from({ length: 30 }, (_, n): TerminalCommand => ({ do: 'print', text: `before ${String(n)}` })),
    );
    session.tell(...THREE.map((command) => (command.do === 'open' ? { ...command, maxFramesPerSecond: 60 } : command)));
    await session.until((lines) => rowsOf(lines).length === 3);
    for (let n = 1; n <= 40; n += 1) {
      session.resize(40 + ((n * 37) % 60));
      session.tell(text('guide', `${String(n)} `));
    }
    session.resize(60);
    session.tell(log('paint', 'still'));
    await session.until((lines) => lines.at(-4) === '│ paint  still' && lines.at(-3)?.includes('39 40') === true);
    expect(session.allLines().filter((line) => !/^(ready|before) /.test(line))).toHaveLength(4);
  });

  it('sums up the streams that a low window has no room for', async () => {
    const session = await start({ rows: 12 });
    const keys = Array.from({ length: 9 }, (_, n) => `stream-${String(n)}`);
    session.tell(...open(...keys));
    await session.until((lines) => lines.at(-1) === '+ 4 more  4 waiting');
    session.resize(80, 30);
    await session.until((lines) => rowsOf(lines).length >= 9 && rowsOf(lines.slice(-1)).length === 1);
    session.tell(...keys.map(complete));
    await session.until((lines) => lines.filter((line) => line.startsWith('✓')).length === 9);
    expect(session.isCursorShown()).toBe(true);
  });

  it('has no colours with NO_COLOR, and is drawn all the same', async () => {
    const colored = await startThree();
    expect(colored.styled()).toContain('\u001b[36m');
    expect(colored.styled()).toContain('\u001b[1mguide');
    const plain = await startThree({ env: { NO_COLOR: '1' } });
    expect(plain.styled()).not.toContain('\u001b[');
    expect(plain.isCursorShown()).toBe(false);
    plain.tell({ do: 'exit', code: 0 });
  });

  it.each<[string, TmuxSettings]>([
    ['through a pipe', { pipe: ' | cat' }],
    ['in a CI job', { env: { CI: 'true' } }],
    ['on a dumb terminal', { env: { TERM: 'dumb' } }],
  ])('prints lines %s', async (_, settings) => {
    const session = await start(settings);
    session.tell(...THREE, complete('guide'), { do: 'fail', key: 'paint', message: 'the GPU has caught fire' });
    await session.until((lines) => lines.at(-1)?.includes('caught fire') === true);
    expect(session.isCursorShown()).toBe(true);
    expect(
      session
        .lines()
        .slice(1)
        .map((line) => line.replace(/after.*s(?=$|:)/, 'after T')),
    ).toEqual([
      '[guide] started',
      '[磨坊] started',
      '[paint] started',
      '[guide] first content after T',
      '[磨坊] first content after T',
      '[paint] status: running',
      '[paint] progress: 62 % (31 of 50) sampling step 31 of 50',
      '[guide] complete after T',
      '[paint] failed after T: the GPU has caught fire',
    ]);
  });

  describe('gives the cursor back', () => {
    const ended = async (session: TmuxSession, by: number): Promise<void> => {
      await session.until((lines) => lines.at(-1)?.replace(/^\^C/, '') === `ended by ${String(by)}`);
      expect(session.isCursorShown()).toBe(true);
    };

    it('at the end', async () => {
      const session = await startThree();
      session.tell(...['guide', '磨坊', 'paint'].map(complete));
      await session.until((lines) => lines.slice(-3).every((line) => line.startsWith('✓')));
      expect(session.isCursorShown()).toBe(true);
    });

    it('when it is left', async () => {
      const session = await startThree();
      session.tell(...['guide', '磨坊', 'paint'].map((key): TerminalCommand => ({ do: 'unsubscribe', key })));
      await session.until((lines) => lines.slice(-3).every((line) => line.startsWith('■')));
      expect(session.isCursorShown()).toBe(true);
    });

    it('after Ctrl-C, which ends the program as ever', async () => {
      const session = await startThree();
      session.keys('C-c');
      await ended(session, 130);
      expect(rowsOf(session.lines())).toHaveLength(3);
    });

    it.each([
      ['SIGTERM', 143],
      ['SIGHUP', 129],
    ] as const)('after %s', async (signal, code) => {
      const session = await startThree();
      process.kill(session.processId, signal);
      await ended(session, code);
    });

    it('after a Ctrl-C that the program listens to once, and leaves the rest to it', async () => {
      const session = await startThree();
      session.tell({ do: 'listen' });
      await session.until((lines) => lines.some((line) => line.includes('listening')));
      session.keys('C-c');
      await ended(session, 0);
      expect(session.lines().filter((line) => line.startsWith('■'))).toHaveLength(3);
    });

    it('after an error that nobody caught', async () => {
      const session = await startThree();
      session.tell({ do: 'throw', message: 'thrown by the test' });
      await ended(session, 1);
      expect(session.allLines().join('\n')).toContain('Error: thrown by the test');
    });

    it('while the program sleeps, and takes it again', async () => {
      const session = await startThree();
      process.kill(session.processId, 'SIGTSTP');
      await session.until(() => session.isCursorShown());
      session.tell(log('paint', 'told meanwhile'));
      process.kill(session.processId, 'SIGCONT');
      await session.until((lines) => lines.some((line) => line.includes('told meanwhile')));
      await session.until((lines) => rowsOf(lines.slice(-3)).length === 3);
      expect(session.isCursorShown()).toBe(false);
    });

    it('after process.exit(), with all that was to be printed', async () => {
      const session = await startThree();
      session.tell(log('paint', 'the last words'), complete('guide'), { do: 'exit', code: 3 });
      await ended(session, 3);
      const lines = session
        .lines()
        .slice(-5)
        .map((line) => line.replace(SPINNER, '* ').slice(0, 12));
      expect(lines).toEqual(['│ paint  the', '✓ guide  com', '* 磨坊   strea', '* paint  run', 'ended by 3']);
    });
  });
});
