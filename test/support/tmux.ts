import { execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { onTestFinished, vi } from 'vitest';
import { bundle } from './bundle.js';
import { runTerminalProgram, type TerminalCommand } from './terminalProgram.js';

/** True where tmux is, which is the terminal of the tests that need a real one. */
export const hasTmux: boolean = spawnSync('tmux', ['-V']).status === 0;

export interface TmuxSettings {
  readonly columns?: number;
  readonly rows?: number;
  readonly env?: Readonly<Record<string, string>>;
  /** What the program's output goes through. */
  readonly pipe?: string;
}

/** A program in a terminal of its own, on a tmux server of its own. */
export interface TmuxSession {
  /** What is on the screen, without the empty lines. */
  lines(): string[];
  /** What is on the screen and what has scrolled away. */
  allLines(): string[];
  /** The screen with its colours. */
  styled(): string;
  isCursorShown(): boolean;
  /** Resolves when the screen is as it should be. */
  until(isRight: (lines: string[]) => boolean): Promise<void>;
  resize(columns: number, rows?: number): void;
  keys(...keys: readonly string[]): void;
  tell(...commands: readonly TerminalCommand[]): void;
  /** Of the program. */
  readonly processId: number;
}

/** Makes the program that `startInTmux` runs. */
export function bundleTerminalProgram(outfile: string): Promise<void> {
  const { name } = runTerminalProgram;
  return bundle(`import { ${name} } from './test/support/terminalProgram.ts'; ${name}();`, outfile);
}

/** Runs the program of `terminalProgram.ts`; when it has ended the screen says `ended by <exit code>`. */
export async function startInTmux(program: string, settings: TmuxSettings = {}): Promise<TmuxSession> {
  const { columns = 80, rows = 24, env = {}, pipe = '' } = settings;
  const folder = await mkdtemp(join(tmpdir(), 'millrace-tmux-'));
  const control = join(folder, 'control');
  const server = ['-S', join(folder, 'tmux')];
  const { CI: _ci, FORCE_COLOR: _force, NO_COLOR: _no, TMUX: _tmux, ...others } = process.env;
  const environment = { ...others, CONTROL: control, LANG: 'C.UTF-8', LC_ALL: 'C.UTF-8' };
  const tmux = (...args: readonly string[]): string =>
    execFileSync('tmux', [...server, ...args], { encoding: 'utf8', env: environment });
  const own = Object.entries(env).map(([name, value]) => `${name}='${value}' `);
  const script = `trap : INT; ${own.join('')}'${process.execPath}' '${program}'${pipe}; echo "ended by $?"; exec cat`;
  tmux('-f', '/dev/null', '-u', 'new-session', '-d', '-x', String(columns), '-y', String(rows), script);
  const socket = new Socket();
  onTestFinished(async () => {
    socket.destroy();
    spawnSync('tmux', [...server, 'kill-server'], { env: environment });
    await rm(folder, { recursive: true });
  });

  const read = (...args: readonly string[]): string[] =>
    tmux('capture-pane', '-p', ...args)
      .split('\n')
      .map((line) => line.trimEnd())
      .filter((line) => line !== '');
  const session = {
    lines: () => read(),
    allLines: () => read('-S', '-1000'),
    styled: () => tmux('capture-pane', '-p', '-e'),
    isCursorShown: () => tmux('display-message', '-p', '#{cursor_flag}').trim() === '1',
    until: async (isRight: (lines: string[]) => boolean) => {
      let last: string[] = [];
      await vi
        .waitUntil(() => isRight((last = session.lines())), { timeout: 15_000, interval: 25 })
        .catch(() => {
          throw new Error(`The screen never was as it should be. It is:\n${last.join('\n')}`);
        });
    },
    resize: (width: number, height = rows) => {
      tmux('resize-window', '-x', String(width), '-y', String(height));
    },
    keys: (...keys: readonly string[]) => {
      tmux('send-keys', ...keys);
    },
    tell: (...commands: readonly TerminalCommand[]) => {
      socket.write(commands.map((command) => `${JSON.stringify(command)}\n`).join(''));
    },
    processId: 0,
  };
  await session.until((lines) => lines.some((line) => line.startsWith('ready ')));
  session.processId = Number(session.lines().join().replace(/\D/g, ''));
  socket.connect(control);
  await once(socket, 'connect');
  return session;
}
