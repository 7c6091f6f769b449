import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { literalTemplate, outputTemplate } from '../../../src/cli/run/outputTemplate.js';
import { MAX_NAME_BYTES } from '../../../src/cli/run/safeName.js';

function rendered(template: string, fields: Readonly<Record<string, unknown>> = {}): string {
  return outputTemplate(template).render((field) => fields[field]);
}

/** Values as people, tables and attackers have them. */
const anyValue = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({ unit: 'grapheme' }),
  fc.string({
    unit: fc.constantFrom('.', '/', '\\', ' ', 'a', 'A', ':', '\0', '-', '\ud800', '\u202e', 'é', 'e\u0301'),
  }),
  fc.constantFrom(
    '..',
    '.',
    '',
    'con',
    'COM1.txt',
    'nul.',
    '.millrace',
    'a'.repeat(300),
    '🙂'.repeat(80),
    '../../etc/passwd',
    'C:\\x',
    '~',
    ' ',
  ),
);

const anyTemplate = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        '{a}',
        '{b}',
        '{a}{b}',
        '/',
        '..',
        '.',
        'x',
        '.md',
        '-',
        '{{',
        '}}',
        ' ',
        'con',
        '\\',
        ':',
        '~',
        '.millrace',
      ),
      fc.string({ maxLength: 3 }),
    ),
    { maxLength: 8 },
  )
  .map((parts) => parts.join(''));

function tryRender(template: string, fields: Readonly<Record<string, unknown>>): string | undefined {
  try {
    return rendered(template, fields);
  } catch (error) {
    if ((error as Error).name === 'TemplateError') return undefined;
    throw error;
  }
}

describe('outputTemplate', () => {
  it('puts fields into names, and makes folders of its own slashes only', () => {
    expect(rendered('{provider}/{id}-{meta.title}.md', { provider: 'openai', id: '7', 'meta.title': 'The mill' })).toBe(
      'openai/7-The mill.md',
    );
    expect(rendered('{ id }{{{n}}}.txt', { id: 'a', n: 3 })).toBe('a{3}.txt');
    expect(rendered('{flag}', { flag: true })).toBe('true');
    expect(outputTemplate('{a}/{b}{a}').fields).toEqual(['a', 'b']);
  });

  it.each([
    ['/a', 'at a root'],
    ['\\a', 'in no file name'],
    ['../a', 'must not hold ..'],
    ['a/../b', 'must not hold ..'],
    ['./a', 'must not hold .'],
    ['a//b', 'a folder without a name'],
    ['a/', 'not a folder'],
    ['', 'at a root'],
    ['C:/a', 'in no file name'],
    ['a\nb', 'control character'],
    ['~/a', 'not from home'],
    ['con.txt', 'reserves'],
    ['a /b', 'a blank'],
    ['a.', 'a dot'],
    ['{id', 'a brace stands alone'],
    ['id}', 'a brace stands alone'],
    ['{}', 'name no field'],
    ['{a/b}', 'a brace stands alone'],
    ['a'.repeat(MAX_NAME_BYTES + 1), 'more than 200 bytes'],
  ])('refuses %j', (template, problem) => {
    expect(() => outputTemplate(template)).toThrow(problem);
  });

  it('refuses what a job has not, or has as an object', () => {
    expect(() => rendered('{title}')).toThrow('the job has no field title');
    expect(() => rendered('{meta}', { meta: {} })).toThrow('field meta is no text or number');
    expect(() => rendered('{meta}', { meta: null })).toThrow('field meta is empty');
  });

  it('refuses a name that only its parts together make', () => {
    expect(() => rendered('com{n}.txt', { n: 1 })).toThrow('reserves');
    expect(() => rendered('{a}{b}', { a: 'co', b: 'n' })).toThrow('reserves');
    expect(rendered('{a}{b}', { a: '.', b: '.' })).not.toMatch(/^\.+$/);
  });

  it.each([
    ['a/b', /^a-b-[0-9a-f]{12}$/],
    ['../../etc/passwd', /^etc-passwd-[0-9a-f]{12}$/],
    ['..', /^[0-9a-f]{12}$/],
    ['', /^[0-9a-f]{12}$/],
    ['con', /^_con-[0-9a-f]{12}$/],
    ['Aux.c', /^_Aux\.c-[0-9a-f]{12}$/],
    ['.bashrc', /^bashrc-[0-9a-f]{12}$/],
    ['end. ', /^end-[0-9a-f]{12}$/],
    ['a\u0000b', /^a-b-[0-9a-f]{12}$/],
    ['what?', /^what-[0-9a-f]{12}$/],
  ])('makes %j safe, and marks that something was lost', (value, name) => {
    expect(rendered('{a}', { a: value })).toMatch(name);
  });

  it.each(['v1.2', 'Ärger im Café', 'a b', '-5', '日本語', 'a..b', 'console', '{x}', "it's", '100%', '👩‍👩‍👧'])(
    'leaves %j as it is',
    (value) => {
      expect(rendered('{a}.txt', { a: value })).toBe(`${value}.txt`);
    },
  );

  it('leaves a dot or a blank inside a name alone', () => {
    expect(rendered('{a}{b}', { a: 'guide', b: '.md' })).toBe('guide.md');
    expect(rendered('{a}.txt', { a: 'end.' })).toBe('end..txt');
  });

  it('cuts what is too long where it may be cut, and keeps the ending', () => {
    const long = rendered('{a}-{b}.md', { a: 'é'.repeat(300), b: 'short' });
    expect(long).toMatch(/^é+-[0-9a-f]{12}-short\.md$/);
    expect(Buffer.byteLength(long)).toBeLessThanOrEqual(MAX_NAME_BYTES);
    expect(Buffer.byteLength(long)).toBeGreaterThan(MAX_NAME_BYTES - 4);
    expect(rendered('{a}', { a: 'x'.repeat(MAX_NAME_BYTES) })).toBe('x'.repeat(MAX_NAME_BYTES));
    expect(rendered('{a}', { a: 'x'.repeat(MAX_NAME_BYTES + 1) })).toMatch(/^x{187}-[0-9a-f]{12}$/);
    expect(() => rendered(`${'l'.repeat(190)}{a}`, { a: 'x'.repeat(30) })).toThrow('more than 200 bytes');
  });

  it('never leads out of its folder, and names nothing that a system cannot have', () => {
    fc.assert(
      fc.property(anyTemplate, anyValue, anyValue, (template, a, b) => {
        const path = tryRender(template, { a, b });
        if (path === undefined) return;
        const names = path.split('/');
        const slashes = template.replace(/\{[^{}/]*\}/g, '').split('/').length;
        expect(names).toHaveLength(slashes);
        for (const name of names) {
          expect(name).not.toMatch(/^\.{0,2}$/);
          // eslint-disable-next-line no-control-regex -- these must not be there
          expect(name).not.toMatch(/[\0-\x1f\x7f<>:"\\|?*]|[. ]$|^ /);
          expect(name).not.toMatch(/^(con|prn|aux|nul|com\d|lpt\d)\s*(\.|$)/i);
          expect(Buffer.byteLength(name)).toBeLessThanOrEqual(MAX_NAME_BYTES);
          expect(name).not.toMatch(/\p{Cs}/u);
        }
      }),
      { numRuns: 5_000 },
    );
  });

  it('makes two names of two values, wherever they stand', () => {
    fc.assert(
      fc.property(
        anyValue,
        anyValue,
        fc.constantFrom('{a}', '{a}.txt', 'x{a}', 'x-{a}-y', 'd/{a}/{a}'),
        (one, other, template) => {
          fc.pre(one !== other);
          const names = [one, other].map((a) => tryRender(template, { a }));
          if (names[0] !== undefined) expect(names[0]).not.toBe(names[1]);
        },
      ),
      { numRuns: 5_000 },
    );
  });

  it('reads a path that it has made as that path', () => {
    fc.assert(
      fc.property(anyTemplate, anyValue, anyValue, (template, a, b) => {
        const path = tryRender(template, { a, b });
        if (path !== undefined) expect(rendered(literalTemplate(path))).toBe(path);
      }),
      { numRuns: 3_000 },
    );
  });
});
