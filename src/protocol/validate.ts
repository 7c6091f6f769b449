import { ValidationError, type ValidationIssue } from '../errors.js';
import type { StandardIssue, StandardSchema } from './standardSchema.js';

/** What a schema makes of a value; throws ValidationError, whose message has paths and rules but never the value. */
export function validate<Output>(schema: StandardSchema<Output>, value: unknown, what: string): Output {
  const result = schema['~standard'].validate(value);
  if ('then' in result) {
    // Nobody awaits it: what it says does not matter, and a rejection must not end the process.
    result.then(undefined, () => undefined);
    throw new TypeError(`The schema of ${what} is asynchronous; streams need a synchronous one`);
  }
  if (result.issues === undefined) return result.value;
  const issues = result.issues.map(describe);
  const list = issues.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`)).join('; ');
  throw new ValidationError(`Unexpected shape of ${what}: ${list}`, issues);
}

function describe({ path = [], message }: StandardIssue): ValidationIssue {
  const keys = path.map((part) => String(typeof part === 'object' ? part.key : part));
  return { path: keys.join('.'), message };
}
