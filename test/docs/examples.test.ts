import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as rxjs from 'rxjs';
import { describe, expect, it } from 'vitest';
import * as bullmq from '../../src/bullmq/index.js';
import * as main from '../../src/index.js';
import * as providers from '../../src/providers/index.js';
import * as redis from '../../src/redis/index.js';
import * as sqlite from '../../src/sqlite/index.js';
import * as testing from '../../src/testing/index.js';
import { complaintsOf } from '../support/complaints.js';
import { examplesOf, moduleOf } from '../support/examples.js';

const src = fileURLToPath(new URL('../../src', import.meta.url));
const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((file) => /\.tsx?$/.test(file));
const entries = {
  millrace: Object.keys(main),
  'millrace/bullmq': Object.keys(bullmq),
  'millrace/providers': Object.keys(providers),
  'millrace/redis': Object.keys(redis),
  'millrace/sqlite': Object.keys(sqlite),
  'millrace/testing': Object.keys(testing),
  rxjs: Object.keys(rxjs),
};

describe('the examples in docstrings', () => {
  it('compile', () => {
    const modules = files.flatMap((file) =>
      examplesOf(readFileSync(join(src, file), 'utf8')).map(({ code, line }): [string, string] => [
        `src/${file.replace(/\.tsx?$/, '')}-line-${String(line)}.ts`,
        moduleOf(code, entries),
      ]),
    );
    expect(modules.length).toBeGreaterThanOrEqual(10);
    expect(complaintsOf(new Map(modules))).toEqual([]);
  });
});

describe('examplesOf', () => {
  it('gives the programs under @example with their lines', () => {
    const source = `import a from 'a';
/**
 * Does.
 *
 * \`\`\`ts
 * not.an.example();
 * \`\`\`
 * @example One
 * \`\`\`ts
 * one({
 *   deep: true,
 * });
 * \`\`\`
 * and
 * \`\`\`ts
 * two();
 * \`\`\`
 * @returns
 * \`\`\`ts
 * not.an.example();
 * \`\`\`
 */
export const b = a;

  /**
   * @example
   * \`\`\`ts
   * three();
   * \`\`\`
   */
`;
    expect(examplesOf(source)).toEqual([
      { code: 'one({\n  deep: true,\n});\n', line: 9 },
      { code: 'two();\n', line: 15 },
      { code: 'three();\n', line: 27 },
    ]);
  });
});

describe('moduleOf', () => {
  it('lets an example use what it does not import, and await', () => {
    const code = `const url = 'mine';\nawait lastValueFrom(fromHTTP(url, { headers }));\n`;
    expect(complaintsOf(new Map([['example.ts', moduleOf(code, entries)]]))).toEqual([]);
  });

  it('leaves an example its own imports', () => {
    const code = `import { fromHTTP as open } from 'millrace';\nopen(url).subscribe();\n`;
    expect(complaintsOf(new Map([['example.ts', moduleOf(code, entries)]]))).toEqual([]);
  });

  it('does not hide what is wrong in an example', () => {
    const code = `fromHTTP(4);\nnowhere();\nparseSSE({ maxLineChars: 1 });\n`;
    expect(complaintsOf(new Map([['example.ts', moduleOf(code, entries)]]))).toEqual([
      expect.stringContaining("'number' is not assignable"),
      expect.stringContaining("Cannot find name 'nowhere'"),
      expect.stringContaining("'maxLineChars' does not exist"),
    ]);
  });
});
