import { array, assert, integer, json as anyJSON, property } from 'fast-check';
import { from, of, Subject, take, throwError } from 'rxjs';
import { describe, expect, expectTypeOf, it } from 'vitest';
import * as z from 'zod/mini';
import { LimitError, ProtocolError, ValidationError } from '../../src/errors.js';
import { type ParsedObject, parseObject, type ParseObjectOptions } from '../../src/operators/parseObject.js';
import type { StandardSchema } from '../../src/protocol/standardSchema.js';
import type { FinishReason, StreamEvent } from '../../src/types.js';
import { marbles } from '../support/marbles.js';

const City = z.object({ city: z.string(), km: z.optional(z.number()) });
const anything: StandardSchema = {
  '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) },
};

function text(piece: string, index = 0, name = 'output'): StreamEvent {
  return { type: 'text', text: piece, index, name };
}

function finish(reason: FinishReason): StreamEvent {
  return { type: 'finish', reason };
}

const restart: StreamEvent = { type: 'restart', attempt: 2, because: 'connection lost', discard: { chars: 9 } };

const events: Record<string, StreamEvent> = {
  a: text('{"city":"Pa'),
  b: text('ris","km'),
  c: text('":7}'),
  s: text(' \n'),
  w: text('{"city":"Paris","km":7}'),
  v: text('{"city":7}'),
  x: text('Sure!'),
  y: text('[', 1),
  o: { type: 'text', text: '[', index: 1, name: 'output', alternative: true },
  t: { type: 'thinking', text: '[', index: 0, name: 'thinking' },
  n: { type: 'refusal', text: '[', index: 0, name: 'output' },
  h: { type: 'heartbeat', comment: '' },
  r: restart,
  f: finish('stop'),
  l: finish('length'),
};

const parsed: Record<string, ParsedObject<z.infer<typeof City>>> = {
  p: { type: 'partial', value: { city: 'Pa' } },
  q: { type: 'partial', value: { city: 'Paris' } },
  r: { type: 'partial', value: { city: 'Paris', km: 7 } },
  O: { type: 'object', value: { city: 'Paris', km: 7 } },
};

/** What a reader of these events sees; an error is the last thing. */
function seen(input: readonly (StreamEvent | string)[], options?: ParseObjectOptions): readonly unknown[] {
  const all: unknown[] = [];
  from(input)
    .pipe(parseObject(anything, options))
    .subscribe({
      next: ({ type, value }) => all.push([type, value]),
      error: (error: unknown) => all.push(error),
      complete: () => all.push('complete'),
    });
  return all;
}

describe('parseObject', () => {
  it(
    'stays silent while the source does',
    marbles((m) => {
      const source = m.cold<StreamEvent>(' -');
      const subs = '                       ^';
      const expected = '                   -';
      m.expect(source.pipe(parseObject(City))).toBeObservable(expected);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'emits what has come of the object, then the object',
    marbles((m) => {
      const source = m.cold(' -a--b-c-(f|)', events);
      const subs = '          ^-------!   ';
      const expected = '      -p--q-r-(O|)';
      m.expect(source.pipe(parseObject(City))).toBeObservable(expected, parsed);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'emits nothing where nothing changed, and reads no other output',
    marbles((m) => {
      const source = m.cold(' s-w-s-t-n-h-o-y-(f|)', events);
      const subs = '          ^---------------!   ';
      const expected = '      --r-------------(O|)';
      m.expect(source.pipe(parseObject(City))).toBeObservable(expected, parsed);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'reads strings too',
    marbles((m) => {
      const source = m.cold(' -a-b|', { a: '{"city":"Pa', b: 'ris","km":7}' });
      const subs = '          ^---!';
      const expected = '      -p-r(O|)';
      m.expect(source.pipe(parseObject(City))).toBeObservable(expected, parsed);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'fails where no text came',
    marbles((m) => {
      const source = m.cold(' -h-(f|)', events);
      const subs = '          ^--!   ';
      const expected = '      ---#   ';
      const error = new ProtocolError('No JSON came (finish reason: stop); it cannot be read as an object', {
        context: { chars: 0, finish: 'stop' },
      });
      m.expect(source.pipe(parseObject(City))).toBeObservable(expected, parsed, error);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'fails where the JSON is cut, and says why',
    marbles((m) => {
      const source = m.cold(' -a-(l|)', events);
      const subs = '          ^--!   ';
      const expected = '      -p-#   ';
      const error = new ProtocolError(
        'The JSON was cut after 11 characters (finish reason: length); it cannot be read as an object',
        { context: { chars: 11, finish: 'length' } },
      );
      m.expect(source.pipe(parseObject(City))).toBeObservable(expected, parsed, error);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'leaves the source at the first text that is no JSON',
    marbles((m) => {
      const source = m.hot('  -x-w-|', events);
      const subs = '          ^!    ';
      const expected = '      -#    ';
      const error = new ProtocolError('What came is not JSON: unexpected text between its characters 0 and 5');
      m.expect(source.pipe(parseObject(City))).toBeObservable(expected, parsed, error);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'passes the source’s error on',
    marbles((m) => {
      const source = m.hot('  -a-#', events);
      const subs = '          ^--!';
      const expected = '      -p-#';
      m.expect(source.pipe(parseObject(City))).toBeObservable(expected, parsed);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'passes the source’s error on when the JSON is whole',
    marbles((m) => {
      const source = m.hot('  -w-#', events);
      const subs = '          ^--!';
      const expected = '      -r-#';
      m.expect(source.pipe(parseObject(City))).toBeObservable(expected, parsed);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'leaves the source when the subscriber leaves',
    marbles((m) => {
      const source = m.hot('  -a-b-|', events);
      const subs = '          ^-!   ';
      const expected = '      -p-   ';
      m.expect(source.pipe(parseObject(City)), subs).toBeObservable(expected, parsed);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'starts over when the answer does',
    marbles((m) => {
      const source = m.hot('  -a-b-r-a-r-w-(f|)', events);
      const subs = '          ^------------!   ';
      const expected = '      -p-q---p---r-(O|)';
      m.expect(source.pipe(parseObject(City))).toBeObservable(expected, parsed);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'reads for each subscriber afresh',
    marbles((m) => {
      const source = m.cold(' -a-b-c|', events);
      const first = '         -p-q-r(O|)';
      const second = '        ---p-q-r(O|)';
      const objects = source.pipe(parseObject(City));
      m.expect(objects).toBeObservable(first, parsed);
      m.expect(objects, '     --^').toBeObservable(second, parsed);
      m.expect(source).toHaveSubscriptions(['^-----!', '--^-----!']);
    }),
  );

  it('stops a synchronous source', () => {
    let produced = 0;
    function* endless(): Generator<string> {
      for (;;) {
        produced += 1;
        yield '[1,';
      }
    }
    const all: unknown[] = [];
    from(endless())
      .pipe(parseObject(anything), take(1))
      .subscribe({ next: ({ value }) => all.push(value), complete: () => all.push('complete') });
    expect(all).toStrictEqual([[1], 'complete']);
    expect(produced).toBe(1);
  });

  it('lets a reader push on from inside a partial', () => {
    const source = new Subject<string>();
    const all: unknown[] = [];
    source.pipe(parseObject(anything)).subscribe({
      next: ({ type, value }) => {
        all.push([type, value]);
        if (all.length === 1) source.next('b","c"]');
        if (all.length === 2) source.complete();
      },
      complete: () => all.push('complete'),
    });
    source.next('["a');
    expect(all).toStrictEqual([['partial', ['a']], ['partial', ['ab', 'c']], ['object', ['ab', 'c']], 'complete']);
  });

  it('emits no completion to a reader who leaves at the object', () => {
    const all: unknown[] = [];
    of('[]')
      .pipe(parseObject(anything), take(2))
      .subscribe({ next: ({ type }) => all.push(type), complete: () => all.push('complete') });
    expect(all).toStrictEqual(['partial', 'object', 'complete']);
  });

  it('fails where the schema refuses the value', () => {
    const all: unknown[] = [];
    from([text('{"city":7}')])
      .pipe(parseObject(City))
      .subscribe({ next: ({ type }) => all.push(type), error: (error: unknown) => all.push(error) });
    expect(all).toStrictEqual(['partial', expect.any(ValidationError)]);
    expect((all[1] as ValidationError).issues).toMatchObject([{ path: 'city' }]);
  });

  it('fails with what a schema throws', () => {
    const broken = new RangeError('broken');
    const schema: StandardSchema<string> = {
      '~standard': {
        version: 1,
        vendor: 'test',
        validate: () => {
          throw broken;
        },
      },
    };
    const all: unknown[] = [];
    of('"a"')
      .pipe(parseObject(schema))
      .subscribe({ next: ({ type }) => all.push(type), error: (error: unknown) => all.push(error) });
    expect(all).toStrictEqual(['partial', broken]);
  });

  it('fails with a schema that validates asynchronously', () => {
    const schema: StandardSchema<string> = {
      '~standard': { version: 1, vendor: 'test', validate: () => Promise.resolve({ value: 'a' }) },
    };
    const all: unknown[] = [];
    of('"a"')
      .pipe(parseObject(schema))
      .subscribe({ error: (error: unknown) => all.push(error) });
    expect(all).toStrictEqual([expect.any(TypeError)]);
  });

  it('gives what the schema makes of the value', () => {
    const Doubled: StandardSchema<number> = {
      '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value: Number(value) * 2 }) },
    };
    const all: unknown[] = [];
    of('2', '1')
      .pipe(parseObject(Doubled))
      .subscribe(({ type, value }) => all.push([type, value]));
    expect(all).toStrictEqual([['object', 42]]);
  });

  it('takes a number that ends the text, unless the answer was ended by force', () => {
    expect(seen([text('12'), finish('stop')])).toStrictEqual([['object', 12], 'complete']);
    for (const reason of ['length', 'content-filter'] as const) {
      expect(seen([text('12'), finish(reason)])).toStrictEqual([expect.any(ProtocolError)]);
      expect(seen([text('[12]'), finish(reason)])).toStrictEqual([['partial', [12]], ['object', [12]], 'complete']);
    }
  });

  it('forgets the finish reason and the bounds of what a restart made void', () => {
    expect(seen([text('[1'), finish('length'), restart, text('12')], { maxChars: 2 })).toStrictEqual([
      ['partial', []],
      ['object', 12],
      'complete',
    ]);
  });

  it('reads the output that it is told to', () => {
    const both = [text('[0]', 0, 'draft'), text('[1]', 1, 'final'), finish('stop')];
    const one = [['partial', [1]], ['object', [1]], 'complete'];
    expect(seen(both, { index: 1 })).toStrictEqual(one);
    expect(seen(both, { name: 'final' })).toStrictEqual(one);
    expect(seen(both)).toStrictEqual([['partial', [0]], ['object', [0]], 'complete']);
    expect(seen([both[1]!, restart, both[0]!])).toStrictEqual([
      ['partial', [1]],
      ['partial', [0]],
      ['object', [0]],
      'complete',
    ]);
  });

  it('takes maxChars characters, white space included, and not one more', () => {
    expect(seen([' [1', '] '], { maxChars: 5 }).at(-1)).toBe('complete');
    expect(seen([' [1', ']  '], { maxChars: 5 })).toStrictEqual([['partial', []], expect.any(LimitError)]);
    expect(seen(['  ', '  '], { maxChars: 3 }).at(-1)).toMatchObject({ limit: 'maxChars', max: 3 });
  });

  it('takes a depth of maxDepth and not one more', () => {
    expect(seen(['[[]]'], { maxDepth: 2 }).at(-1)).toBe('complete');
    expect(seen(['[[', '[]]]'], { maxDepth: 2 })).toStrictEqual([
      ['partial', [[]]],
      expect.objectContaining({ limit: 'maxDepth', max: 2 }),
    ]);
    expect(seen(['['.repeat(128) + ']'.repeat(128)]).at(-1)).toBe('complete');
    expect(seen(['['.repeat(129)])).toStrictEqual([expect.any(LimitError)]);
  });

  it('quotes nothing of the text in its errors', () => {
    for (const pieces of [
      ['{"secret":secret'],
      ['"secret'],
      ['"a" secret'],
      ['```secret'],
      ['{"secret":"', '\nsecret'],
    ]) {
      const error = seen(pieces).at(-1);
      expect(error).toBeInstanceOf(ProtocolError);
      expect(JSON.stringify(error) + String(error) + String((error as Error).cause)).not.toContain('secret');
    }
  });

  describe('with thousands of members open', () => {
    const items = Array.from({ length: 4000 }, (_, item) => item % 10);
    const open = `[${items.join(',')},`;

    it.each([
      ['array', open],
      ['object', `{${items.map((item, index) => `"${String(index)}":${String(item)}`).join(',')},`],
    ])('copies no more of an %s than what came has paid for', (_, json) => {
      let copied = 0;
      let last: unknown;
      from(json)
        .pipe(parseObject(anything))
        .subscribe({
          next: ({ value }) => {
            copied += Object.keys(value as object).length;
            last = value;
          },
          error: () => undefined,
        });
      expect(copied).toBeGreaterThan(0);
      expect(copied).toBeLessThanOrEqual(1_000_000 + 32 * json.length);
      expect(Object.values(last as object)).toStrictEqual(items);
    });

    it.each([
      ['the source’s error', [], new Error('lost')],
      ['text that is no JSON', ['x'], undefined],
      ['a limit', ['1'], undefined],
      ['a cut', [], undefined],
    ] as const)('shows the newest of it before %s', (_, after, lost) => {
      const source = new Subject<string>();
      const lengths: unknown[] = [];
      source.pipe(parseObject(anything, { maxChars: open.length })).subscribe({
        next: ({ value }) => lengths.push((value as unknown[]).length),
        error: () => lengths.push('error'),
      });
      for (const piece of open) source.next(piece);
      const before = lengths.at(-1);
      for (const piece of after) source.next(piece);
      if (lost === undefined) source.complete();
      else source.error(lost);
      expect(before).toBeLessThan(4000);
      expect(lengths.slice(-3)).toStrictEqual([before, 4000, 'error']);
    });

    it('shows nothing more of it after a restart', () => {
      const pieces = [...open].map((piece) => text(piece));
      const before = seen(pieces);
      expect(before.slice(-2)).toStrictEqual([['partial', items], expect.any(ProtocolError)]);
      expect(seen([...pieces, restart, text(' ')]).slice(0, -1)).toStrictEqual(before.slice(0, -2));
    });
  });

  it('gives the same value however often and late a partial is read', () => {
    const partials: ParsedObject<unknown>[] = [];
    from('[{"a":"bc"},["d"]]')
      .pipe(parseObject(anything))
      .subscribe((event) => partials.push(event));
    const late = partials.map(({ type, value }) => ({ type, value }));
    expect(late).toStrictEqual([
      { type: 'partial', value: [] },
      { type: 'partial', value: [{}] },
      { type: 'partial', value: [{ a: '' }] },
      { type: 'partial', value: [{ a: 'b' }] },
      { type: 'partial', value: [{ a: 'bc' }] },
      { type: 'partial', value: [{ a: 'bc' }, []] },
      { type: 'partial', value: [{ a: 'bc' }, ['']] },
      { type: 'partial', value: [{ a: 'bc' }, ['d']] },
      { type: 'object', value: [{ a: 'bc' }, ['d']] },
    ]);
    for (const [index, partial] of partials.entries()) expect(partial.value).toBe(late[index]?.value);
  });

  it('ends with the value for any JSON, any cuts and with or without a fence', () => {
    assert(
      property(anyJSON(), array(integer({ min: 0, max: 1e6 })), integer({ min: 0, max: 2 }), (json, places, fence) => {
        const whole = [json, `\`\`\`json\n${json}\n\`\`\``, ` \`\`\`${json}\`\`\`\n`][fence] ?? '';
        const at = places.map((place) => place % whole.length).sort((a, b) => a - b);
        const pieces = [0, ...at].map((start, index) => whole.slice(start, at[index]));
        const all = seen(pieces);
        expect(all.slice(-2)).toStrictEqual([['object', JSON.parse(json)], 'complete']);
        expect(all.length).toBeLessThanOrEqual(pieces.length + 2);
      }),
    );
  });

  it('refuses what is no schema, and bounds below 1', () => {
    for (const schema of [undefined, null, {}, 'a', { '~standard': {} }]) {
      // Given from JavaScript.
      expect(() => parseObject(schema as unknown as StandardSchema)).toThrow(TypeError);
    }
    expect(() => parseObject(anything, { maxDepth: 0 })).toThrow(RangeError);
    expect(() => parseObject(anything, { maxChars: NaN })).toThrow(RangeError);
    const callable: StandardSchema = Object.assign(() => undefined, anything);
    expect(() => parseObject(callable)).not.toThrow();
  });

  it('has previews that may lack anything, and a value that lacks nothing', () => {
    const Trip = z.object({ mode: z.enum(['train', 'car']), stops: z.array(City), at: z.nullable(z.number()) });
    throwError(() => new Error('never read'))
      .pipe(parseObject(Trip))
      .subscribe({
        next: (event) => {
          if (event.type === 'object') expectTypeOf(event.value).toEqualTypeOf<z.infer<typeof Trip>>();
          else {
            expectTypeOf(event.value.mode).toEqualTypeOf<string | undefined>();
            expectTypeOf(event.value.stops?.[0]?.city).toEqualTypeOf<string | undefined>();
            expectTypeOf(event.value.at).toEqualTypeOf<number | null | undefined>();
          }
        },
        error: (error: unknown) => {
          expect(error).toMatchObject({ message: 'never read' });
        },
      });
  });
});
