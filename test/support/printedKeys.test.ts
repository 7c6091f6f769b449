import process from 'node:process';
import { afterEach, expect, it, vi } from 'vitest';
import { secretKey } from './keys.js';
import setup from './printedKeys.js';

afterEach(() => {
  process.exitCode = undefined;
  vi.restoreAllMocks();
});

/** What the check says of a run that prints this, piece by piece. */
function saidOf(...pieces: readonly (string | Uint8Array)[]): { readonly said: string; readonly exitCode: unknown } {
  const printed: string[] = [];
  const take = (chunk: string | Uint8Array): boolean => printed.push(Buffer.from(chunk as string).toString()) > 0;
  vi.spyOn(process.stdout, 'write').mockImplementation(take);
  vi.spyOn(process.stderr, 'write').mockImplementation(take);
  const finish = setup();
  pieces.forEach((piece, i) => {
    (i % 2 === 0 ? process.stdout : process.stderr).write(piece);
  });
  const before = printed.length;
  expect(printed.join('')).toBe(pieces.map((piece) => Buffer.from(piece as string).toString()).join(''));
  finish();
  return { said: printed.slice(before).join(''), exitCode: process.exitCode };
}

it('fails a run that printed a key, and does not print it again', () => {
  const key = secretKey();
  for (const pieces of [[`a ${key} b\n`], [Buffer.from(key)], ['fine', key.toUpperCase()]]) {
    const { said, exitCode } = saidOf(...pieces);
    expect(said).toContain('<KEY>');
    expect(said.toLowerCase()).not.toContain(key);
    expect(exitCode).toBe(1);
    vi.restoreAllMocks();
    process.exitCode = undefined;
  }
});

it('finds a key that is printed in two pieces', () => {
  const key = secretKey();
  expect(saidOf(key.slice(0, 12), '', key.slice(12)).exitCode).toBe(1);
});

it('says nothing of a run that printed none', () => {
  expect(saidOf('sk-secret', ' and a prompt', Buffer.from('bytes'))).toStrictEqual({ said: '', exitCode: undefined });
});
