import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { outputClashes } from '../../../src/cli/run/outputClashes.js';

function clashes(...outs: readonly string[]): readonly unknown[] {
  const jobs = outs.map((out, at) => ({ out, number: at + 1, line: at + 1 }));
  return outputClashes(jobs).map(({ job, with: other, what }) => [
    job.line,
    other === 'run' ? other : other.line,
    what,
  ]);
}

describe('outputClashes', () => {
  it.each<[string, readonly string[], readonly unknown[]]>([
    ['the same path', ['a.txt', 'b.txt', 'a.txt'], [[3, 1, 'same']]],
    ['another case', ['a/B.txt', 'A/b.txt'], [[2, 1, 'folded']]],
    ['another composition', ['caf\u00e9', 'cafe\u0301'], [[2, 1, 'folded']]],
    ['letters that fold into several', ['stra\u00dfe', 'STRASSE'], [[2, 1, 'folded']]],
    ['characters that no one sees', ['a\u200db', 'ab'], [[2, 1, 'folded']]],
    ['a file where a folder is needed', ['a', 'A/b'], [[2, 1, 'folder']]],
    ['a folder where a file is needed', ['a/b/c', 'a/b'], [[2, 1, 'folder']]],
    ['the partial file of another', ['a.txt', 'a.txt.partial'], [[2, 1, 'partial']]],
    ['the lock of another', ['a.txt.partial.owner', 'a.txt'], [[2, 1, 'partial']]],
    ['the lock of a lock', ['a.txt', 'a.txt.partial.owner.123'], [[2, 1, 'partial']]],
    ['the kept partial file of another', ['a.txt', 'A.txt.partial.1'], [[2, 1, 'partial']]],
    ['a folder with the name of a partial file', ['a', 'a.partial/b'], [[2, 1, 'partial']]],
    ['the report', ['report.json'], [[1, 'run', 'folded']]],
    ['a folder called as the report', ['Report.html/a'], [[1, 'run', 'folder']]],
    ['the report while it is written', ['failed.jsonl.partial'], [[1, 'run', 'partial']]],
    ['the journal', ['.millrace'], [[1, 'run', 'same']]],
    ['the journal’s folder', ['.Millrace/x'], [[1, 'run', 'same']]],
    ['what is there for a moment', ['a/.millrace-1'], [[1, 'run', 'same']]],
  ])('finds %s', (_, outs, expected) => {
    expect(clashes(...outs)).toEqual(expected);
  });

  it.each([
    [['a.txt', 'b.txt', 'a/a.txt', 'a/b.txt']],
    [['a.partial', 'b.txt']],
    [['a.txt', 'a.partially', 'x/report.json', 'millrace', 'b.partial/a']],
  ])('lets %j be', (outs) => {
    expect(clashes(...outs)).toEqual([]);
  });

  it('tells of each job once, and of every one that is not the first', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('a', 'A', 'a/b', 'a.partial', 'b', 'c/d', 'C/D')), (outs) => {
        const found = clashes(...outs) as [number, number, string][];
        expect(new Set(found.map(([line]) => line)).size).toBe(found.length);
        const lefts = outs.filter((_, at) => !found.some(([line]) => line === at + 1));
        expect(clashes(...lefts)).toEqual([]);
      }),
    );
  });

  it('looks at a hundred thousand jobs in one go', () => {
    const outs = Array.from({ length: 100_000 }, (_, at) => `folder-${String(at % 100)}/job-${String(at)}.txt`);
    expect(clashes(...outs)).toEqual([]);
  });
});
