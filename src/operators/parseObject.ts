import type { OperatorFunction } from 'rxjs';
import { LimitError, ProtocolError } from '../errors.js';
import { FencedJSON } from '../internal/fencedJSON.js';
import { link, operate } from '../internal/operate.js';
import { requireAtLeast } from '../internal/require.js';
import { type OutputSelection, selectOutput } from '../internal/selectOutput.js';
import type { StandardSchema } from '../protocol/standardSchema.js';
import { validate } from '../protocol/validate.js';
import type { FinishReason, StreamEvent } from '../types.js';

/** Which text `parseObject` reads, and how much of it. @public */
export interface ParseObjectOptions extends OutputSelection {
  /** Arrays and objects in each other, at least 1; one more is a LimitError. @defaultValue 128 (chosen) */
  readonly maxDepth?: number | undefined;
  /** Characters (UTF-16 code units) of text, at least 1; one more is a LimitError. @defaultValue 16,777,216 (chosen) */
  readonly maxChars?: number | undefined;
}

/**
 * What may have come of a value while its JSON arrives: keys and items may be missing, and strings may be cut. It is what stands
 * in the JSON: a schema's transforms and defaults come at the end.
 * @public
 */
export type DeepPartial<T> = T extends string
  ? string
  : T extends readonly (infer Item)[]
    ? readonly DeepPartial<Item>[]
    : T extends object
      ? { readonly [Key in keyof T]?: DeepPartial<T[Key]> }
      : T;

/** What `parseObject` emits: previews, then the value. @public */
export type ParsedObject<T> =
  { readonly type: 'partial'; readonly value: DeepPartial<T> } | { readonly type: 'object'; readonly value: T };

/** What reading the partials may cost for each character that came, in items copied: a partial waits until it is paid for. Chosen. */
const COST_PER_CHAR = 32;
/** And besides, so that none waits in JSON of common size: copied in about 10 ms. Chosen. */
const FREE_COST = 1_000_000;

/**
 * Reads structured output: shows the object while its JSON is still arriving, and gives it whole and validated at the end.
 *
 * ```text
 * source    -a--b--c-(f|)    a = '{"city":"Pa', b = 'ris","km', c = '":7}', f = finish
 * result    -p--q--r-(o|)    p, q, r = partial { city: 'Pa' }, { city: 'Paris' }, { city: 'Paris', km: 7 }
 *                            o = object { city: 'Paris', km: 7 }
 * ```
 * A preview is never taken for the value: they differ in `type`. Strings show while they grow; keys show with their values;
 * numbers, `true`, `false` and `null` show when they are certain. Keys do not vanish again, unless the JSON names one twice. White
 * space and one Markdown code fence (with or without the word `json`; its end may be missing) may stand around the JSON.
 *
 * Emits at most one `partial` per piece of text, when something changed, and one `object` when the source completes; takes
 * strings as well as StreamEvents. In long JSON with hundreds of members open, several pieces share a partial. A `restart` starts
 * over. Completes with the source, after the object. Errors, after the newest partial, with the source's error; with ProtocolError
 * at the first text that is no JSON, and at the end where the JSON is cut (the message has the finish reason); with
 * ValidationError where the schema refuses the value; with LimitError beyond a bound. Unsubscribing stops the source. Holds the
 * text, at most `maxChars`, and what was read of it.
 *
 * A partial's `value` is made when it is first read: a reader who skips some pays nothing for them. It does not change afterwards;
 * it shares what is whole with other partials, so do not change it either. Each read costs as much as the arrays and objects
 * that are still open have members; partials are so spaced that reading all of them takes time in proportion to the text.
 *
 * @example
 * ```ts
 * const City = z.object({ name: z.string(), sights: z.array(z.string()) });
 * fromCall(api.chat({ model, messages })).pipe(parseObject(City)).subscribe({
 *   next: (parsed) => {
 *     if (parsed.type === 'partial') log('so far', parsed.value.sights?.length);
 *     else log(parsed.value.name, parsed.value.sights);
 *   },
 *   error: report,
 * });
 * ```
 * @param schema - any Standard Schema (zod, valibot, arktype ...), which must validate synchronously
 * @param options - see {@link ParseObjectOptions}
 * @returns an operator
 * @throws TypeError for something that is no Standard Schema
 * @throws RangeError for a bound below 1
 * @public
 */
export function parseObject<T>(
  schema: StandardSchema<T>,
  options: ParseObjectOptions = {},
): OperatorFunction<StreamEvent | string, ParsedObject<T>> {
  const { maxDepth = 128, maxChars = 16 * 1024 * 1024 } = options;
  requireAtLeast(1, { maxDepth, maxChars });
  requireSchema(schema);
  return operate((source, subscriber) => {
    let isSelected = selectOutput(options);
    let json = new FencedJSON(maxDepth);
    let chars = 0;
    let finish: FinishReason | undefined;
    let paid = FREE_COST;
    /** The newest view, where no partial has shown it. */
    let unseen: (() => unknown) | undefined;
    const show = (): void => {
      if (unseen === undefined) return;
      const partial = partialOf<T>(unseen);
      unseen = undefined;
      subscriber.next(partial);
    };
    const read = (text: string): void => {
      chars += text.length;
      if (chars > maxChars) {
        throw new LimitError('maxChars', maxChars, `The JSON is longer than maxChars (${String(maxChars)})`);
      }
      json.push(text);
      unseen = json.view() ?? unseen;
      paid += text.length * COST_PER_CHAR;
      if (unseen === undefined || json.cost > paid) return;
      paid -= json.cost;
      show();
    };
    const tryRead = (text: string): void => {
      try {
        read(text);
      } catch (error) {
        show();
        throw error;
      }
    };
    source.subscribe(
      link<StreamEvent | string>(subscriber, {
        next: (event) => {
          if (typeof event === 'string') tryRead(event);
          else if (event.type === 'text') {
            if (isSelected(event)) tryRead(event.text);
          } else if (event.type === 'finish') finish = event.reason;
          else if (event.type === 'restart') {
            isSelected = selectOutput(options); // the new answer may name its outputs otherwise
            json = new FencedJSON(maxDepth);
            chars = 0;
            finish = undefined;
            paid = FREE_COST;
            unseen = undefined;
          }
        },
        error: (error) => {
          show();
          subscriber.error(error);
        },
        complete: () => {
          if (!json.end(finish === 'length' || finish === 'content-filter')) {
            show();
            throw unfinished(chars, finish);
          }
          const value = validate(schema, json.parse(), 'the object');
          subscriber.next({ type: 'object', value });
          subscriber.complete();
        },
      }),
    );
  });
}

/** A schema may be a function too. */
function requireSchema(schema: unknown): void {
  const standard = (schema as { readonly '~standard'?: { readonly validate?: unknown } } | null | undefined)?.[
    '~standard'
  ];
  if (typeof standard?.validate !== 'function') {
    throw new TypeError(`schema must be a Standard Schema (zod, valibot, arktype ...), got ${typeof schema}`);
  }
}

function partialOf<T>(view: () => unknown): ParsedObject<T> {
  let make: (() => unknown) | undefined = view;
  let made: unknown;
  return {
    type: 'partial',
    get value(): DeepPartial<T> {
      if (make !== undefined) {
        made = make();
        make = undefined; // lets go of what came later
      }
      // Nothing has looked at it yet: that it will be a T is the reader's hope until the schema has spoken.
      return made as DeepPartial<T>;
    },
  };
}

function unfinished(chars: number, finish: FinishReason | undefined): ProtocolError {
  const what = chars === 0 ? 'No JSON came' : `The JSON was cut after ${String(chars)} characters`;
  const why = finish === undefined ? '' : ` (finish reason: ${finish})`;
  return new ProtocolError(`${what}${why}; it cannot be read as an object`, { context: { chars, finish } });
}
