import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { setImmediate as turn } from 'node:timers/promises';
import { format, resolveConfig } from 'prettier';
import { tap } from 'rxjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { toStdout } from '../../src/sinks/toStdout.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { type Flood, PIECE, SlowOutput, startFlood } from '../support/flood.js';
import { type PressureCase, pressureCases } from '../support/pressureCases.js';

const FRAMES = 20_000;
const MARK = 16;
const DOCUMENT = fileURLToPath(new URL('../../docs/pressure.md', import.meta.url));

interface Measured {
  /** The most pieces that had left the source and were not taken from the sink. */
  readonly held: number;
  /** The most that were on their way behind an asynchronous operator. */
  readonly onTheirWay: number;
  readonly taken: number;
}

/** Leads a stream that never waits by itself into an output that takes a text every five turns, and looks at what lies between. */
async function measure({ build, cuts }: PressureCase, flood: Flood): Promise<Measured> {
  const output = new SlowOutput(MARK);
  const call = flood.ask(cuts);
  let given = 0;
  let arrived = 0;
  let [held, onTheirWay] = [0, 0];
  let failure: unknown;
  const ask = () =>
    fromCall(call).pipe(
      tap((event) => {
        if (event.type !== 'text') return;
        given += event.text.length;
        held = Math.max(held, given - output.taken);
        onTheirWay = Math.max(onTheirWay, given - arrived);
      }),
    );
  const subscription = build(ask)
    .pipe(
      tap((item) => {
        const text = typeof item === 'string' ? item : item.type === 'text' ? item.text : '';
        arrived += text.length;
      }),
      toStdout({ stream: Object.assign(output, { isTTY: true }) }),
    )
    .subscribe({
      error: (error: unknown) => {
        failure = error;
      },
    });
  while (output.taken < 120 * PIECE.length && failure === undefined) {
    for (let turns = 0; turns < 5; turns += 1) await turn();
    output.take();
  }
  subscription.unsubscribe();
  if (failure !== undefined) throw failure as Error;
  const pieces = (chars: number): number => Math.ceil(chars / PIECE.length);
  return { held: pieces(held), onTheirWay: pieces(onTheirWay), taken: pieces(output.taken) };
}

/** What is promised, in pieces, where a chunk of the network brings so many. */
function promised({ bound, streams = 1, held = 0 }: PressureCase, { onTheirWay }: Measured, chunk = 1): number {
  const onTheStack = MARK + streams * chunk + held;
  return bound === 'window' ? onTheStack + onTheirWay : onTheStack;
}

const measured = new Map<PressureCase, Measured>();
let flood: Flood;
beforeAll(async () => {
  flood = await startFlood(FRAMES);
});
afterAll(async () => {
  await flood.close();
});

async function measureOnce(one: PressureCase): Promise<Measured> {
  const known = measured.get(one) ?? (await measure(one, flood));
  measured.set(one, known);
  return known;
}

describe('a full sink', () => {
  const of = (bound: PressureCase['bound']): readonly PressureCase[] =>
    pressureCases.filter((each) => each.bound === bound);

  it.each(of('stack'))('holds its source back at its mark and one chunk of each stream, through $name', async (one) => {
    const found = await measureOnce(one);
    expect(found.held).toBeLessThanOrEqual(promised(one, found));
    // It goes on whenever there is room.
    expect(found.taken).toBeGreaterThanOrEqual(120);
  });

  it.each(of('window'))('holds its source back at what is on its way, through $name', async (one) => {
    const found = await measureOnce(one);
    expect(found.held).toBeLessThanOrEqual(promised(one, found));
    expect(found.onTheirWay).toBeLessThan(FRAMES / 4);
  });

  it('lets no more through than the chunk at hand', async () => {
    const big = await startFlood(FRAMES, 100);
    const one = pressureCases[0]!;
    const found = await measure(one, big);
    await big.close();
    expect(found.held).toBeGreaterThan(MARK + 1);
    expect(found.held).toBeLessThanOrEqual(promised(one, found, 100));
  });

  it('stands in docs/pressure.md with what it held', async () => {
    const rows = [];
    for (const one of pressureCases) rows.push({ one, ...(await measureOnce(one)) });
    if (process.env['MILLRACE_PRESSURE'] === 'write') writeFileSync(DOCUMENT, await document(rows));
    const text = existsSync(DOCUMENT) ? readFileSync(DOCUMENT, 'utf8') : '';
    const names = [...text.matchAll(/^\| (.+?) +\| +(\d+|–|.* on the way) +\| +([\d,]+) \|$/gm)].map(
      ([, name]) => name,
    );
    expect(names, 'docs/pressure.md has other rows: run npm run docs:pressure').toEqual(
      ['stack', 'window', 'none'].flatMap((bound) => of(bound as PressureCase['bound']).map(({ name }) => name)),
    );
    const most = Math.max(...rows.filter(({ one }) => one.bound === 'stack').map(({ held }) => held));
    console.log(
      `pressure: ${String(pressureCases.length)} pipelines, a mark of ${String(MARK)}: at most ${String(most)} pieces held on one stack, ` +
        `${String(Math.max(...rows.filter(({ one }) => one.bound === 'window').map(({ held }) => held)))} behind asynchronous operators`,
    );
  });
});

type Row = Measured & { readonly one: PressureCase };

async function document(rows: readonly Row[]): Promise<string> {
  const table = (bound: PressureCase['bound']): string =>
    [
      '| pipeline | bound | most held |',
      '| --- | ---: | ---: |',
      ...rows
        .filter(({ one }) => one.bound === bound)
        .map((row) => {
          const { one, held } = row;
          const bounds = {
            stack: String(promised(one, row)),
            window: `${String(MARK + (one.streams ?? 1))} + what is on the way`,
            none: '–',
          };
          return `| ${one.name} | ${bounds[bound]} | ${held.toLocaleString('en')} |`;
        }),
    ].join('\n');
  const text = `
# Pressure

A sink that is full pauses the sockets that fill it, and they alone, without any wiring. Written by \`npm run docs:pressure\`; \`npm test\`
measures again. A server sends ${FRAMES.toLocaleString('en')} pieces as fast as they are taken, one in each chunk of the network. The
sink is \`toStdout\` on an output that is full at ${String(MARK)} pieces and takes one every five turns of the event loop. *Most held* is how many
pieces had left the source and were not yet taken, at the worst moment.

## On one stack

Where each operator passes an item on before it returns, the bound is the sink's mark and one chunk of each stream.

${table('stack')}

## Behind an asynchronous operator

There an item is on its way for a while, and the sink learns of it when it arrives. It then pauses the streams that it draws from. What was
sent in that time is on the way, and comes. How much that is depends on the machine, and on the network: here a read of the socket brings
about 1,600 pieces, since nothing slows the server down.

A stream that is subscribed to late, and only then (in a \`mergeMap\` behind a \`delay\`, or by a \`retry\`), is known to no sink until it
delivers to one on its own stack. Where a sink knows no stream that could fill it, or is given ${(1024).toLocaleString('en')} items more by streams that it
has paused, it pauses every open stream that no other sink is known to draw from. \`isolate()\` keeps a stream out of that.

${table('window')}

## Outside

These queue without asking anybody. \`mapAsync\` is there for the first: it does asynchronous work for each item, and pauses the source
meanwhile. \`isolate\` is in this list because it is what it is for.

${table('none')}
`;
  return await format(text, { ...(await resolveConfig(DOCUMENT)), parser: 'markdown' });
}
