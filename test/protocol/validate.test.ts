import { describe, expect, it } from 'vitest';
import * as z from 'zod/mini';
import { ValidationError } from '../../src/errors.js';
import type { StandardIssue, StandardResult, StandardSchema } from '../../src/protocol/standardSchema.js';
import { validate } from '../../src/protocol/validate.js';

/** A schema of another library than ours. */
function schema<T>(check: (value: unknown) => StandardResult<T> | Promise<StandardResult<T>>): StandardSchema<T> {
  return { '~standard': { version: 1, vendor: 'test', validate: check } };
}

function failure(run: () => unknown): ValidationError {
  try {
    run();
  } catch (error) {
    if (error instanceof ValidationError) return error;
    throw error;
  }
  throw new Error('expected a ValidationError');
}

describe('validate', () => {
  it('gives what the schema makes of the value', () => {
    const length = schema((value) => ({ value: String(value).length }));
    expect(validate(length, 'four', 'a word')).toBe(4);
  });

  it('keeps the keys that a loose schema does not know', () => {
    const loose = z.looseObject({ known: z.string() });
    expect(validate(loose, { known: 'a', odd: 1 }, 'a frame')).toStrictEqual({ known: 'a', odd: 1 });
  });

  it('names every place and no value', () => {
    const frame = z.object({ id: z.number(), list: z.array(z.object({ name: z.string() })) });
    const error = failure(() =>
      validate(frame, { id: 'sk-secret', list: [{ name: 'ok' }, { name: 98_765 }] }, 'a frame'),
    );
    expect(error.issues.map(({ path }) => path)).toStrictEqual(['id', 'list.1.name']);
    expect(error.message).toMatch(/^Unexpected shape of a frame: id: .+; list\.1\.name: .+$/);
    expect(error.message).not.toMatch(/sk-secret|98765/);
    expect(JSON.stringify(error)).not.toMatch(/sk-secret|98765/);
  });

  it.each<[string, StandardIssue, string, string]>([
    ['the whole value', { message: 'must be a list' }, '', 'Unexpected shape of x: must be a list'],
    ['an empty path', { message: 'no', path: [] }, '', 'Unexpected shape of x: no'],
    ['keys and numbers', { message: 'no', path: ['a', 0, 'b'] }, 'a.0.b', 'Unexpected shape of x: a.0.b: no'],
    ['path segments', { message: 'no', path: [{ key: 'a' }, { key: 1 }] }, 'a.1', 'Unexpected shape of x: a.1: no'],
    ['a symbol', { message: 'no', path: [Symbol('s')] }, 'Symbol(s)', 'Unexpected shape of x: Symbol(s): no'],
  ])('reads a complaint about %s', (_, issue, path, message) => {
    const error = failure(() =>
      validate(
        schema(() => ({ issues: [issue] })),
        1,
        'x',
      ),
    );
    expect(error.issues).toStrictEqual([{ path, message: issue.message }]);
    expect(error.message).toBe(message);
  });

  it('refuses a schema that answers later', () => {
    const late = schema(() => Promise.resolve({ value: 1 }));
    expect(() => validate(late, 1, 'a frame')).toThrow(TypeError);
    expect(() => validate(late, 1, 'a frame')).toThrow('The schema of a frame is asynchronous');
    // One that rejects would end the process, were its rejection left alone.
    const refusing = schema(() => Promise.reject(new Error('late')));
    expect(() => validate(refusing, 1, 'a frame')).toThrow(TypeError);
  });
});
