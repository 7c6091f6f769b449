import fc from 'fast-check';
import { concat, from, lastValueFrom, Subject, throwError, toArray } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { maskSecrets } from '../../src/internal/maskSecrets.js';

const bytes = (text: string): Uint8Array => Buffer.from(text, 'latin1');
const textOf = (chunks: readonly Uint8Array[]): string => Buffer.concat(chunks).toString('latin1');

async function masked(chunks: readonly string[], secrets: readonly string[]): Promise<string> {
  return textOf(await lastValueFrom(from(chunks.map(bytes)).pipe(maskSecrets(secrets), toArray())));
}

describe('maskSecrets', () => {
  it('writes over a secret as it is, in JSON and in a URL', async () => {
    const secret = 'ab/cd+ef==';
    expect(await masked([`1 ab/cd+ef== 2 ab\\/cd+ef== 3 ab%2Fcd%2Bef%3D%3D 4`], [secret])).toBe(
      `1 ${'*'.repeat(10)} 2 ${'*'.repeat(11)} 3 ${'*'.repeat(18)} 4`,
    );
  });

  it('leaves what is too short to be a key, and the chunks themselves', async () => {
    expect(await masked(['any Bearer any'], ['any', 'Bearer'])).toBe('any Bearer any');
    const chunk = bytes('secret-key');
    await lastValueFrom(from([chunk]).pipe(maskSecrets(['secret-key']), toArray()));
    expect(textOf([chunk])).toBe('secret-key');
  });

  it('gives an event at once, and holds nothing but a beginning', () => {
    const source = new Subject<Uint8Array>();
    const seen: string[] = [];
    source.pipe(maskSecrets(['secret-key'])).subscribe((chunk) => seen.push(textOf([chunk])));
    for (const piece of ['data: a\n\n', 'data: sec', 'ond\n\n', 'secret-', 'key\n', 's']) source.next(bytes(piece));
    expect(seen).toEqual(['data: a\n\n', 'data: ', 'second\n\n', '**********\n']);
    source.complete();
    expect(seen.at(-1)).toBe('s');
  });

  it('gives what it holds before an error', async () => {
    const failure = new Error('cut');
    const seen: string[] = [];
    const ended = await new Promise((resolve) => {
      concat(
        from([bytes('a secret')]),
        throwError(() => failure),
      )
        .pipe(maskSecrets(['secret-key']))
        .subscribe({ next: (chunk) => seen.push(textOf([chunk])), error: resolve });
    });
    expect([seen, ended]).toEqual([['a ', 'secret'], failure]);
  });

  it('does the same however the bytes are cut', async () => {
    const secrets = ['aabaabaa', 'abaabaab/', 'babbabbab'];
    const piece = fc.constantFrom('a', 'b', '/', '\\/', '\n', ...secrets);
    await fc.assert(
      fc.asyncProperty(
        fc.array(piece, { maxLength: 40 }),
        fc.array(fc.nat(60), { maxLength: 20 }),
        async (pieces, cuts) => {
          const whole = pieces.join('');
          const at = [0, ...cuts.map((cut) => Math.min(cut, whole.length)).sort((a, b) => a - b), whole.length];
          const chunks = at.slice(1).map((end, i) => whole.slice(at[i], end));
          const result = await masked(chunks, secrets);
          expect(result).toHaveLength(whole.length);
          for (const secret of secrets) expect(result).not.toContain(secret);
          // Nothing but secrets is written over.
          for (const [i, character] of [...result].entries()) if (character !== '*') expect(character).toBe(whole[i]);
          if (!secrets.some((secret) => whole.includes(secret) || whole.includes(secret.replaceAll('/', '\\/')))) {
            expect(result).toBe(whole);
          }
        },
      ),
      { numRuns: 2_000 },
    );
  });
});
