import fc from 'fast-check';
import { join, relative, win32 } from 'node:path';
import { describe, expect, it } from 'vitest';
import { requireFileName, requirePath } from '../../src/internal/fileName.js';

const check = (name: unknown, absolute?: 'allow' | 'refuse') => (): void => {
  requireFileName('output', name, absolute);
};

describe('a name that comes from outside', () => {
  it.each(['a', 'a.md', 'a/b.md', './a.md', 'a/./b.md', '..a', 'a..', '...', 'a/..b/c', 'con tent', 'ž.md', 'ab:c'])(
    'may be %j',
    (name) => {
      expect(check(name)).not.toThrow();
    },
  );

  it.each([
    ['', 'empty'],
    [5, 'a text'],
    [undefined, 'a text'],
    ['..', "without '..'"],
    ['../a', "without '..'"],
    ['a/../../b', "without '..'"],
    ['a/..', "without '..'"],
    ['a\\..\\b', "without '..'"],
    ['a\0.md', 'control'],
    ['a\nb', 'control'],
    ['a/', 'folder'],
    ['a/.', 'folder'],
    ['.', 'folder'],
  ])('may not be %j', (name, because) => {
    for (const absolute of ['allow', 'refuse'] as const) {
      expect(check(name, absolute)).toThrow(TypeError);
      expect(check(name, absolute)).toThrow(because);
    }
  });

  it.each(['/a', '\\a', '\\\\server\\share\\a', 'C:\\a', 'C:a', 'c:/a', 'a:b', '//a'])(
    'may be %j only where any place may be chosen',
    (name) => {
      expect(check(name)).toThrow('not from a root');
      expect(check(name, 'allow')).not.toThrow();
    },
  );

  it('leads below the folder that it is joined to, on every system', () => {
    const piece = fc.constantFrom('a', '..', '.', '', '/', '\\', 'C:', '..a', '\0', ' ');
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 6 }), (pieces) => {
        const name = pieces.join('');
        try {
          requireFileName('output', name);
        } catch {
          return;
        }
        expect(relative('/folder', join('/folder', name))).not.toMatch(/^\.\.(\/|$)|^$/);
        expect(win32.resolve('C:\\folder', name)).toMatch(/^C:\\folder\\./);
      }),
      { numRuns: 2_000 },
    );
  });
});

it('a path is a text that is not empty and holds no NUL', () => {
  for (const path of ['', 'a\0b', undefined, 5]) {
    expect(() => {
      requirePath('path', path);
    }).toThrow(TypeError);
  }
  expect(() => {
    requirePath('path', '../a\nb');
  }).not.toThrow();
});
