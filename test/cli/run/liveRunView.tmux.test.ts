import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundle } from '../../support/bundle.js';
import { hasTmux, startInTmux, type TmuxSession, type TmuxSettings } from '../../support/tmux.js';
import { runLiveProgram } from './liveProgram.js';

const BAR = /^[━─]+ {2}\d+\/\d/u;
const ROW = /^[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] /u;
const has = (pattern: RegExp): ((lines: readonly string[]) => boolean) => {
  return (lines) => lines.some((line) => pattern.test(line));
};

describe.skipIf(!hasTmux)(`a run on a real terminal${hasTmux ? '' : ' (skipped: there is no tmux)'}`, () => {
  let folder: string;
  let program: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'millrace-run-view-'));
    program = join(folder, 'program.mjs');
    const { name } = runLiveProgram;
    await bundle(`import { ${name} } from './test/cli/run/liveProgram.ts'; ${name}();`, program);
  });
  afterAll(() => rm(folder, { recursive: true }));

  const start = async (settings: TmuxSettings, ...texts: readonly string[]): Promise<TmuxSession> => {
    const session = await startInTmux(program, settings);
    say(session, ...texts);
    return session;
  };
  const say = (session: TmuxSession, ...texts: readonly string[]): void => {
    session.tell(...texts.map((text) => ({ do: 'print', text }) as const));
  };

  it('shows rows and the whole, prints what ends, and gives the terminal back', async () => {
    const session = await start({ columns: 100 }, 'open 4', 'start one', 'start two', 'start three');
    await session.until(has(/0\/4 {2}0 %/));
    await session.until((lines) => lines.filter((line) => ROW.test(line)).length === 3);
    expect(session.isCursorShown()).toBe(false);
    say(session, 'end one', 'fail two');
    await session.until(has(/2\/4 {2}50 %/));
    expect(session.lines().filter((line) => /^[✓✗ ]/u.test(line))).toEqual([
      expect.stringMatching(/^✓ one +complete .*1,200 chars {2}310 tokens {2}0\.001 USD .* one\.md$/),
      expect.stringMatching(/^✗ two +failed .*two\.md\.partial$/),
      expect.stringMatching(/^ +the mill has burnt down$/),
    ]);
    say(session, 'close');
    await session.until(has(/^ended by 0$/));
    expect(session.isCursorShown()).toBe(true);
    expect(session.lines().some((line) => BAR.test(line) || ROW.test(line))).toBe(false);
    expect(session.lines().filter((line) => /^[✓✗]/u.test(line))).toHaveLength(2);
  });

  it('tells each Ctrl-C what it has done, and leaves the cursor there when the process is left', async () => {
    const session = await start({ columns: 100 }, 'open 4', 'signals', 'start one');
    await session.until(has(BAR));
    session.keys('C-c');
    await session.until(has(/^Ctrl-C: no more jobs are begun/));
    session.keys('C-c');
    await session.until(has(/^Ctrl-C: what runs is stopped/));
    expect(session.isCursorShown()).toBe(false);
    session.keys('C-c');
    await session.until(has(/^ended by 130$/));
    expect(session.isCursorShown()).toBe(true);
    // Both were printed, and the last one stands below the rows too.
    expect(session.allLines().filter((line) => line.startsWith('Ctrl-C: what runs'))).toHaveLength(2);
    expect(session.allLines().filter((line) => BAR.test(line))).toHaveLength(1);
  });

  it('stays whole when the terminal changes its size, and where it is low and narrow', async () => {
    const session = await start({ columns: 100, rows: 20 }, 'open 50');
    say(session, ...Array.from({ length: 30 }, (_, n) => `start job-${String(n)}`));
    await session.until(has(/more {2}\d+ streaming/));
    const isOnce = (lines: readonly string[], word: string): boolean =>
      lines.filter((line) => line.includes(word)).length === 1;
    for (const columns of [60, 34, 120, 90]) {
      session.resize(columns, 20);
      await session.until(
        (lines) => isOnce(lines, '0/50') && isOnce(lines, 'more ') && lines.some((line) => line.length > columns * 0.7),
      );
    }
    // What a screen has no room for scrolls away, where nobody can take it back; what is drawn then fits.
    for (const [columns, rows] of [
      [60, 6],
      [24, 4],
    ] as const) {
      session.resize(columns, rows);
      await session.until((lines) => isOnce(lines, '0/50') && isOnce(lines, 'more ') && lines.length <= rows);
    }
    say(session, 'end job-0', 'close');
    await session.until(has(/^ended by 0$/));
    expect(session.lines().some((line) => BAR.test(line))).toBe(false);
    expect(session.isCursorShown()).toBe(true);
  });

  it('costs little while a hundred of a thousand jobs run', async () => {
    const session = await start({ columns: 100, rows: 30 }, 'open 1000', 'flood');
    await session.until(has(/^flooded: /));
    const share = Number(/flooded: ([\d.]+)/.exec(session.lines().join('\n'))?.[1]);
    expect(share).toBeLessThan(50);
    await session.until(has(/900\/1,000 {2}90 %/));
    say(session, 'close');
    await session.until(has(/^ended by 0$/));
  });
});
