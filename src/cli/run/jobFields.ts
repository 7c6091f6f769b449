import * as z from 'zod/mini';

const text = z.string('must be a text').check(z.minLength(1, 'must not be empty'));
const object = z.record(z.string(), z.unknown(), 'must be an object');

/** The fields that a job knows. `null` takes a default away. Messages never quote a value: it may be a prompt, or a key. */
export const jobSchema = z.object({
  id: z.nullish(z.union([text, z.number()], 'must be a text or a number, and not empty')),
  provider: z.nullish(text),
  mode: z.nullish(text),
  prompt: z.nullish(z.string('must be a text').check(z.refine((prompt) => prompt.trim() !== '', 'must not be empty'))),
  request: z.nullish(object),
  model: z.nullish(text),
  system: z.nullish(text),
  maxTokens: z.nullish(z.int('must be a whole number').check(z.gte(1, 'must be at least 1'))),
  temperature: z.nullish(z.number('must be a number').check(z.gte(0, 'must be at least 0'))),
  enableThinking: z.nullish(z.boolean('must be true or false')),
  baseUrl: z.nullish(text),
  region: z.nullish(text),
  service: z.nullish(text),
  app: z.nullish(text),
  agent: z.nullish(text),
  input: z.nullish(object),
  keyEnv: z.nullish(
    text.check(z.regex(/^[A-Za-z_]\w*$/, 'must be the name of an environment variable, and not a key')),
  ),
  format: z.nullish(z.enum(['text', 'json', 'events'], 'must be text, json or events')),
  output: z.nullish(text),
});

export type JobField = keyof typeof jobSchema.shape;
const JOB_FIELDS = Object.keys(jobSchema.shape) as readonly JobField[]; // its keys, as its type tells them

/** The known fields of a job, where they are right and say something. */
export type KnownFields = { readonly [Field in JobField]?: NonNullable<z.infer<typeof jobSchema>[Field]> };

/** What is said; `null` only took something away. */
export function withoutNulls(fields: z.infer<typeof jobSchema>): KnownFields {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null && value !== undefined));
}

export function isJobField(name: string): name is JobField {
  return Object.hasOwn(jobSchema.shape, name);
}

/** Names of what must not stand in a file. */
const KEY_FIELD =
  /^(?:x?(?:\w+api|api|secret|access|auth|private|bearer))?(?:key|token|secret|password|passwd|credentials?|authorization)$/;

/** Whether a field's name says that it holds a key. */
export function isKeyField(name: string): boolean {
  return KEY_FIELD.test(plain(name));
}

/**
 * The known field that an unknown one was meant as, told by its spelling: `max_tokens`, `temprature`. Only where nobody would call a field of
 * their own so.
 */
export function meantField(name: string): JobField | undefined {
  if (plain(name) === 'maxoutputtokens') return 'maxTokens'; // as its flag is called
  return JOB_FIELDS.find(
    (field) =>
      plain(field) === plain(name) ||
      (field.length >= 6 && name !== `${field}s` && isOneSlip(plain(name), plain(field))),
  );
}

function plain(name: string): string {
  return name.toLowerCase().replace(/[-_ ]/g, '');
}

/** One letter left out, put in or exchanged, or two swapped. */
function isOneSlip(a: string, b: string): boolean {
  let start = 0;
  while (start < a.length && a[start] === b[start]) start += 1;
  let end = 0;
  while (end < Math.min(a.length, b.length) - start && a.at(-1 - end) === b.at(-1 - end)) end += 1;
  const [inA, inB] = [a.slice(start, a.length - end), b.slice(start, b.length - end)];
  if (inA.length <= 1 && inB.length <= 1) return true;
  return inA.length === 2 && inB.length === 2 && inA === inB.charAt(1) + inB.charAt(0);
}

/** What a table's cell says. */
export interface FieldValue {
  readonly value?: unknown;
  readonly problem?: string;
}

/** A cell as its field has it: the schema tells what is a number, a truth or an object. @param isJSON - its column says that it is JSON */
export function cellValue(path: readonly string[], cell: string, isJSON: boolean): FieldValue {
  const kind = path.length === 1 ? kindOf(path[0] ?? '') : 'string';
  if (isJSON || kind === 'record') {
    try {
      return { value: JSON.parse(cell) as unknown };
    } catch {
      return { problem: 'is not JSON' }; // the parser quotes the cell
    }
  }
  if (kind === 'number') return NUMBER.test(cell.trim()) ? { value: Number(cell) } : { problem: 'must be a number' };
  if (kind === 'boolean') {
    const word = cell.trim().toLowerCase(); // spreadsheets write TRUE
    return word === 'true' || word === 'false' ? { value: word === 'true' } : { problem: 'must be true or false' };
  }
  return { value: cell };
}

const NUMBER = /^-?\d+(?:\.\d+)?(?:e[-+]?\d+)?$/i;

function kindOf(name: string): string {
  if (!isJobField(name)) return 'string';
  let { def } = jobSchema.shape[name] as { readonly def: Definition }; // of zod's own: what a schema wraps is in it
  while (def.innerType !== undefined) ({ def } = def.innerType);
  return def.type;
}

interface Definition {
  readonly type: string;
  readonly innerType?: { readonly def: Definition };
}
