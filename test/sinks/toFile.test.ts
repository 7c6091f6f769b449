import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import process from 'node:process';
import {
  catchError,
  concat,
  concatMap,
  defer,
  delay,
  EMPTY,
  first,
  firstValueFrom,
  from,
  lastValueFrom,
  map,
  merge,
  mergeMap,
  type MonoTypeOperatorFunction,
  NEVER,
  type Observable,
  of,
  retry,
  share,
  Subject,
  Subscription,
  switchMap,
  take,
  takeUntil,
  tap,
  throwError,
  timer,
} from 'rxjs';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { AbortError, InterruptedError, ProviderError, SinkError } from '../../src/errors.js';
import type { WritableFile } from '../../src/internal/io.js';
import { nodeFiles } from '../../src/internal/node/files.js';
import { stopOn } from '../../src/operators/stopOn.js';
import { tapReceipt } from '../../src/operators/tapReceipt.js';
import { toTokens } from '../../src/operators/toTokens.js';
import { toFile, type ToFileOptions } from '../../src/sinks/toFile.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { fromHTTP } from '../../src/sources/fromHTTP.js';
import { fakeCall } from '../../src/testing/fakeCall.js';
import { startServer, type TestServer } from '../../src/testing/startServer.js';
import type { FinishReason, OutputPlace, Receipt, StreamEvent } from '../../src/types.js';
import { pausable } from '../support/pausable.js';

let folder: string;
let path: string;

beforeEach(async () => {
  folder = await fs.mkdtemp(join(tmpdir(), 'millrace-toFile-'));
  path = join(folder, 'a.md');
});
afterEach(async () => {
  vi.restoreAllMocks();
  await fs.rm(folder, { recursive: true, force: true });
});

const names = async (): Promise<string[]> => (await fs.readdir(folder)).sort();
const contents = (name = 'a.md'): Promise<string> => fs.readFile(join(folder, name), 'utf8');
const write = (name: string, content: string): Promise<void> => fs.writeFile(join(folder, name), content);

const text = (content: string, place: Partial<OutputPlace> = {}): StreamEvent => ({
  type: 'text',
  text: content,
  index: 0,
  name: 'output',
  ...place,
});
const finish = (reason: FinishReason = 'stop'): StreamEvent => ({ type: 'finish', reason });
const restart: StreamEvent = { type: 'restart', attempt: 2, because: 'the test says so', discard: { chars: 0 } };
const answer = (...pieces: string[]): Observable<StreamEvent> =>
  fromCall(fakeCall([...pieces.map((piece) => text(piece)), finish()]));
const half = (...pieces: string[]): Observable<StreamEvent> => fromCall(fakeCall(pieces.map((piece) => text(piece))));
/** An answer that is driven by the test. */
function driven(): { events: Subject<StreamEvent>; stream: Observable<StreamEvent> } {
  const events = new Subject<StreamEvent>();
  return { events, stream: fromCall(fakeCall(events)) };
}

interface Watched {
  readonly receipts: Receipt[];
  readonly ended: Promise<unknown>;
  readonly subscription: Subscription;
  /** The receipt, whatever the ending. */
  readonly receipt: Promise<Receipt>;
}

function run(source: Observable<StreamEvent | string>, options?: ToFileOptions): Watched {
  const receipts: Receipt[] = [];
  let subscription = new Subscription();
  let tell: (receipt: Receipt) => void = () => undefined;
  const receipt = new Promise<Receipt>((resolve) => (tell = resolve));
  const ended = new Promise<unknown>((resolve) => {
    subscription = source.pipe(toFile(path, options), tapReceipt(tell)).subscribe({
      next: (one) => receipts.push(one),
      error: resolve,
      complete: () => {
        resolve('complete');
      },
    });
  });
  return { receipts, ended, subscription, receipt };
}

/** The receipt of a stream that is not to fail. */
const done = (source: Observable<StreamEvent | string>, options?: ToFileOptions): Promise<Receipt> =>
  lastValueFrom(source.pipe(toFile(path, options)));

/** The error of a stream that is to fail, its receipt beside. */
async function failure<E extends Error>(
  source: Observable<StreamEvent | string>,
  options?: ToFileOptions,
): Promise<E & { readonly receipt: Receipt }> {
  const { ended, receipts, receipt } = run(source, options);
  const error = await ended;
  if (!(error instanceof Error)) throw new Error('expected an error, got a completion');
  expect(receipts).toEqual([]);
  expect(error).toHaveProperty('receipt', await receipt);
  return error as E & { readonly receipt: Receipt };
}

async function serve(): Promise<TestServer> {
  const server = await startServer();
  onTestFinished(() => server.close());
  return server;
}

const textFrom = (url: string): Observable<string> => fromHTTP(url).pipe(map((chunk) => Buffer.from(chunk).toString()));

/** Puts something of the test's between the sink and every file that it opens. */
function onFiles(change: (file: WritableFile) => Partial<WritableFile>): void {
  const create = nodeFiles.create.bind(nodeFiles);
  vi.spyOn(nodeFiles, 'create').mockImplementation((name) => {
    const file = create(name);
    return file && { ...file, ...change(file) };
  });
}

/** A door that is closed until the test opens it. */
function gate(): {
  readonly opened: Promise<void>;
  open(): void;
  readonly reached: Promise<void>;
  pass(): Promise<void>;
} {
  let open: () => void = () => undefined;
  let reach: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  const reached = new Promise<void>((resolve) => (reach = resolve));
  return {
    opened,
    open: () => {
      open();
    },
    reached,
    pass: () => {
      reach();
      return opened;
    },
  };
}

function refusal(code: string): Error {
  return Object.assign(new Error(`${code}: refused by the test`), { code });
}

/** Fires a notifier once the first item has passed. */
function endAfterFirst<T>(
  source: Observable<T>,
  operator: (notifier: Observable<unknown>) => MonoTypeOperatorFunction<T>,
): Observable<T> {
  return defer(() => {
    const notifier = new Subject<void>();
    return source.pipe(
      tap(() => {
        queueMicrotask(() => {
          notifier.next();
        });
      }),
      operator(notifier),
    );
  });
}

async function turns(count = 20): Promise<void> {
  for (let n = 0; n < count; n += 1) await new Promise((resolve) => setImmediate(resolve));
}

describe('a complete stream', () => {
  it('has its file before its receipt is emitted', async () => {
    const seen: unknown[] = [];
    await lastValueFrom(
      answer('Hello ', 'world').pipe(
        toFile(path),
        concatMap(async () => seen.push(await names(), await contents())),
      ),
    );
    expect(seen).toEqual([['a.md'], 'Hello world']);
  });

  it('emits one receipt and completes', async () => {
    const { ended, receipts } = run(answer('Hello'));
    expect(await ended).toBe('complete');
    expect(receipts).toHaveLength(1);
  });

  it('is taken as strings too', async () => {
    expect(await done(of('Hello ', 'world'))).toMatchObject({ outcome: 'complete', chars: 11, bytes: 11, attempts: 0 });
    expect(await contents()).toBe('Hello world');
  });

  it('without text makes an empty file', async () => {
    expect(await done(answer())).toMatchObject({ outcome: 'complete', chars: 0, bytes: 0, where: path });
    expect(await contents()).toBe('');
    expect(await names()).toEqual(['a.md']);
  });

  it('of a thousand tiny tokens is in order, and in fewer writes', async () => {
    let writes = 0;
    onFiles((file) => ({
      write: (bytes) => {
        writes += 1;
        return file.write(bytes);
      },
    }));
    const tokens = Array.from({ length: 1000 }, (_, n) => `${String(n)} `);
    const receipt = await done(from(tokens));
    expect(await contents()).toBe(tokens.join(''));
    expect(receipt.chars).toBe(tokens.join('').length);
    expect(writes).toBeLessThan(10);
  });

  it('counts characters and bytes apart', async () => {
    const receipt = await done(answer('žluť ', '🐎'));
    expect(receipt).toMatchObject({ chars: 7, bytes: 11 });
    expect((await fs.stat(path)).size).toBe(11);
  });

  it('may have a surrogate pair cut in two', async () => {
    const [high, low] = ['🐎'.slice(0, 1), '🐎'.slice(1)];
    onFiles((file) => ({
      write: async (bytes) => {
        expect(new TextDecoder('utf-8', { fatal: true }).decode(bytes)).not.toContain('\ufffd');
        await file.write(bytes);
      },
    }));
    const { events, stream } = driven();
    const receipt = done(stream);
    await vi.waitUntil(() => events.observed);
    for (const piece of ['a', high, low, high]) {
      events.next(text(piece));
      await turns();
    }
    events.next(text(low));
    events.next(finish());
    expect(await receipt).toMatchObject({ chars: 5, bytes: 9 });
    expect(await contents()).toBe('a🐎🐎');
  });

  it('may end in half of a surrogate pair, which is written as the replacement character', async () => {
    expect(await done(of('a\ud83d'))).toMatchObject({ chars: 2, bytes: 4 });
    expect(await contents()).toBe('a\ufffd');
  });

  it('does not wait for ever where the bound is one character and that is half of a pair', async () => {
    const source = pausable(['\ud83d', '\udc0e', '\ud83d', '\udc0e']);
    await done(source.source, { maxWaitingChars: 1 });
    expect(await contents()).toBe('🐎🐎');
  });

  it('gives the first output only, or the one that is asked for', async () => {
    const events = [
      text('one', { index: 1, alternative: true }),
      text('zero'),
      { type: 'thinking', text: 'hm', index: 0, name: 'thinking' } as const,
      text('other', { name: 'other' }),
      finish(),
    ];
    await done(fromCall(fakeCall(events)));
    expect(await contents()).toBe('zero');
    await done(fromCall(fakeCall(events)), { ifExists: 'overwrite', index: 1 });
    expect(await contents()).toBe('one');
    await done(fromCall(fakeCall(events)), { ifExists: 'overwrite', name: 'other' });
    expect(await contents()).toBe('other');
  });

  it('is named absolutely in its receipt', async () => {
    const relative = join('..', '..', '..', '..', '..', '..', '..', '..', path);
    const receipt = await lastValueFrom(answer('x').pipe(toFile(relative)));
    expect(receipt.where).toBe(path);
  });
});

describe('durability', () => {
  function watchSyncs(): string[] {
    const did: string[] = [];
    onFiles((file) => ({
      sync: () => {
        did.push('sync');
        return file.sync();
      },
      close: () => {
        did.push('close');
        return file.close();
      },
    }));
    const { publish, syncFolder } = { ...nodeFiles };
    vi.spyOn(nodeFiles, 'publish').mockImplementation((source, target) => {
      if (target === path) did.push('publish');
      return publish(source, target);
    });
    vi.spyOn(nodeFiles, 'syncFolder').mockImplementation((name) => {
      did.push('sync folder');
      return syncFolder(name);
    });
    return did;
  }

  it('is reached before the receipt', async () => {
    const did = watchSyncs();
    await done(answer('x'));
    expect(did).toEqual(['sync', 'close', 'publish', 'sync folder']);
  });

  it('can be done without', async () => {
    const did = watchSyncs();
    await done(answer('x'), { fsync: false });
    expect(did).toEqual(['close', 'publish']);
  });

  it('that fails once the file has its name is a SinkError that says where the text is', async () => {
    vi.spyOn(nodeFiles, 'syncFolder').mockRejectedValue(refusal('EIO'));
    const error = await failure<SinkError>(answer('x'));
    expect(error).toBeInstanceOf(SinkError);
    expect(error.receipt).toMatchObject({ outcome: 'failed', where: path });
    expect(await names()).toEqual(['a.md']);
  });
});

describe('building the pipe', () => {
  it('opens, checks and asks nothing', async () => {
    const { source } = pausable(['x']);
    const subscribed = vi.fn();
    void source.pipe(tap({ subscribe: subscribed }), toFile(path));
    await turns();
    expect(subscribed).not.toHaveBeenCalled();
    expect(await names()).toEqual([]);
  });

  it('may be subscribed to twice, one after the other', async () => {
    const file = answer('x').pipe(toFile(path, { ifExists: 'overwrite' }));
    await lastValueFrom(file);
    await lastValueFrom(file);
    expect(await contents()).toBe('x');
  });

  it.each<[string, () => unknown, new (message: string) => Error]>([
    ['path', (): unknown => toFile(''), TypeError],
    ['path', (): unknown => toFile(undefined as unknown as string), TypeError],
    ['ifExists', (): unknown => toFile('x', { ifExists: 'maybe' as 'skip' }), TypeError],
    ['onPartial', (): unknown => toFile('x', { onPartial: 'burn' as 'keep' }), TypeError],
    ['publishOn', (): unknown => toFile('x', { publishOn: ['stop', 'done' as 'stop'] }), TypeError],
    ['maxWaitingChars', (): unknown => toFile('x', { maxWaitingChars: 0 }), RangeError],
    ['maxWaitingChars', (): unknown => toFile('x', { maxWaitingChars: Number.NaN }), RangeError],
  ])('refuses a wrong %s at once', (option, make, type) => {
    expect(make).toThrow(type);
    expect(make).toThrow(option);
  });
});

describe('before the request', () => {
  it('finds the file there: SinkError, nothing asked', async () => {
    await write('a.md', 'theirs');
    const server = await serve();
    const error = await failure<SinkError>(textFrom(server.url));
    expect(error).toBeInstanceOf(SinkError);
    expect(error.message).toContain('ifExists');
    expect(error.receipt).toMatchObject({ outcome: 'failed', where: 'none', chars: 0, bytes: 0, attempts: 0 });
    expect(server.exchanges).toHaveLength(0);
    expect(await names()).toEqual(['a.md']);
    expect(await contents()).toBe('theirs');
  });

  it('finds the file there and skips: a receipt, nothing asked', async () => {
    await write('a.md', 'theirs');
    const server = await serve();
    const { ended, receipts } = run(textFrom(server.url), { ifExists: 'skip' });
    expect(await ended).toBe('complete');
    expect(receipts).toStrictEqual([
      {
        where: path,
        chars: 0,
        bytes: 0,
        outcome: 'complete',
        skipped: true,
        timings: { startedAt: expect.any(Number) as number, totalMs: expect.any(Number) as number },
        usage: { provenance: 'unknown' },
        attempts: 0,
        restarts: 0,
        warnings: [],
        requestIds: [],
        billing: 'ended',
      },
    ]);
    expect(server.exchanges).toHaveLength(0);
    expect(await contents()).toBe('theirs');
  });

  it('skips nothing where the file is missing', async () => {
    expect(await done(answer('x'), { ifExists: 'skip' })).not.toHaveProperty('skipped');
    expect(await contents()).toBe('x');
  });

  it('overwrites only when the new text is whole', async () => {
    await write('a.md', 'old');
    await failure(half('ne'), { ifExists: 'overwrite' });
    expect(await contents()).toBe('old');
    await done(answer('new'), { ifExists: 'overwrite' });
    expect(await contents()).toBe('new');
    expect(await names()).toEqual(['a.md']);
  });

  it.each(['error', 'skip', 'overwrite'] as const)('refuses a folder with ifExists: %s', async (ifExists) => {
    await fs.mkdir(path);
    const server = await serve();
    const error = await failure(textFrom(server.url), { ifExists });
    expect(error).toBeInstanceOf(SinkError);
    expect(error.message).toContain('no ordinary file');
    expect(server.exchanges).toHaveLength(0);
    expect(await names()).toEqual(['a.md']);
  });

  it('refuses to replace a pipe', async () => {
    spawnSync('mkfifo', [path]);
    expect(await failure(answer('x'), { ifExists: 'overwrite' })).toBeInstanceOf(SinkError);
  });

  it('finds no folder: SinkError, nothing asked, unless parents are to be made', async () => {
    path = join(folder, 'deep', 'er', 'a.md');
    const server = await serve();
    const error = await failure<SinkError>(textFrom(server.url));
    expect(error).toBeInstanceOf(SinkError);
    expect(error.context).toMatchObject({ path, code: 'ENOENT' });
    expect(error.cause).toMatchObject({ code: 'ENOENT' });
    expect(server.exchanges).toHaveLength(0);
    expect(await names()).toEqual([]);
    await done(answer('x'), { parents: true });
    expect(await fs.readdir(dirname(path))).toEqual(['a.md']);
  });

  it.each([false, true])(
    'finds a file in place of a folder: SinkError, nothing asked (parents: %s)',
    async (parents) => {
      await write('b', '');
      path = join(folder, 'b', 'a.md');
      const server = await serve();
      expect(await failure(textFrom(server.url), { parents })).toBeInstanceOf(SinkError);
      expect(server.exchanges).toHaveLength(0);
    },
  );

  it.skipIf(process.getuid?.() === 0)('finds a folder that must not be written: SinkError, nothing asked', async () => {
    await fs.chmod(folder, 0o500);
    const server = await serve();
    expect((await failure<SinkError>(textFrom(server.url))).cause).toMatchObject({ code: 'EACCES' });
    expect(server.exchanges).toHaveLength(0);
  });

  it.each([
    ['error', ['a.md.partial'], 0],
    ['keep', ['a.md', 'a.md.partial.1'], 1],
    ['replace', ['a.md'], 1],
  ] as const)('finds an unfinished file, with onPartial: %s', async (onPartial, left, asked) => {
    await write('a.md.partial', 'paid for');
    const subscribed = vi.fn();
    await run(answer('x').pipe(tap({ subscribe: subscribed })), { onPartial }).ended;
    expect(subscribed).toHaveBeenCalledTimes(asked);
    expect(await names()).toEqual(left);
  });
});

describe('one file', () => {
  it('takes one sink at a time; the first is unharmed', async () => {
    const { events, stream } = driven();
    const one = run(stream);
    await vi.waitUntil(() => events.observed);
    events.next(text('one'));
    const server = await serve();
    const error = await failure(textFrom(server.url));
    expect(error).toBeInstanceOf(SinkError);
    expect(error.message).toContain(`process ${String(process.pid)}`);
    expect(server.exchanges).toHaveLength(0);
    events.next(finish());
    expect(await one.ended).toBe('complete');
    expect(await contents()).toBe('one');
    expect(await names()).toEqual(['a.md']);
  });

  it('takes one of two sinks that are subscribed in the same turn', async () => {
    const ends = await Promise.all([run(answer('x')).ended, run(answer('x')).ended]);
    expect(ends).toContain('complete');
    expect(ends.filter((end) => end instanceof SinkError)).toHaveLength(1);
    expect(await names()).toEqual(['a.md']);
  });

  it('of another process is left alone until that is dead', async () => {
    const program = join(folder, 'owner.mjs');
    const owner = `${path}.partial.owner`;
    await write(
      'owner.mjs',
      `import { writeFileSync } from 'node:fs';
      writeFileSync(${JSON.stringify(owner)}, String(process.pid));
      console.log('ready');
      setInterval(() => undefined, 1000);`,
    );
    const child = spawn(process.execPath, [program]);
    onTestFinished(() => void child.kill('SIGKILL'));
    await once(child.stdout, 'data');
    await write('a.md.partial', 'theirs');
    const error = await failure(answer('ours'));
    expect(error).toBeInstanceOf(SinkError);
    expect(error.message).toContain(`process ${String(child.pid)}`);
    expect(await contents('a.md.partial')).toBe('theirs');
    child.kill('SIGKILL');
    await once(child, 'exit');
    await done(answer('ours'), { onPartial: 'keep' });
    expect(await names()).toEqual(['a.md', 'a.md.partial.1', 'owner.mjs']);
    expect(await contents()).toBe('ours');
    expect(await contents('a.md.partial.1')).toBe('theirs');
  });

  it('takes one live stream: two at once are a TypeError, and both are left', async () => {
    const [one, two] = [driven(), driven()];
    const failed = failure<TypeError>(merge(one.stream, two.stream));
    await vi.waitUntil(() => one.events.observed && two.events.observed);
    one.events.next(text('one'));
    two.events.next(text('two'));
    const error = await failed;
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toContain('two streams at once');
    expect(error.receipt).toMatchObject({ outcome: 'failed', chars: 3 });
    expect(one.events.observed).toBe(false);
    expect(two.events.observed).toBe(false);
    expect(await contents('a.md.partial')).toBe('one');
  });

  it('takes two streams one after the other, with outputs of different names', async () => {
    const second = fromCall(fakeCall([text('two', { index: 3, name: 'reply' }), finish('length')]));
    const receipt = await done(concat(answer('one '), second));
    expect(await contents()).toBe('one two');
    expect(receipt).toMatchObject({ outcome: 'complete', attempts: 2, chars: 7, finish: { reason: 'length' } });
  });

  it('takes a stream behind an asynchronous operator', async () => {
    await done(concat(answer('one ', 'two '), answer('three')).pipe(delay(1)));
    expect(await contents()).toBe('one two three');
  });

  it('has one key, which its receipt names; a second one is a TypeError', async () => {
    const keyed = (key: string): StreamEvent => Object.assign(text(key), { key });
    expect(await done(of(keyed('a'), keyed('a')))).toMatchObject({ key: 'a', chars: 2 });
    const error = await failure(of(keyed('a'), keyed('b')), { ifExists: 'overwrite' });
    expect(error).toBeInstanceOf(TypeError);
    expect(error.message).toContain('"a" and "b"');
    expect(await contents('a.md.partial')).toBe('a');
  });
});

describe('an answer that begins anew', () => {
  it('takes back what was written', async () => {
    const { events, stream } = driven();
    const receipt = done(stream);
    await vi.waitUntil(() => events.observed);
    events.next(text('a long first attempt'));
    await vi.waitUntil(async () => (await contents('a.md.partial')) !== '');
    events.next(restart);
    events.next(text('second'));
    events.next(finish());
    expect(await receipt).toMatchObject({ outcome: 'complete', restarts: 1, chars: 6, bytes: 6 });
    expect(await contents()).toBe('second');
  });

  it('takes back what was not written yet, half a surrogate pair too', async () => {
    await done(fromCall(fakeCall([text('first\ud83d'), restart, text('\udc0esecond'), finish()])));
    expect(await contents()).toBe('\ufffdsecond');
  });

  it('may do so again and again', async () => {
    const events = [text('one'), restart, text('two'), restart, restart, text('three'), finish()];
    expect(await done(fromCall(fakeCall(events)))).toMatchObject({ chars: 5, restarts: 3 });
    expect(await contents()).toBe('three');
  });

  it.each([1, 65_536])('keeps the answers before it (maxWaitingChars: %i)', async (maxWaitingChars) => {
    const second = fromCall(fakeCall([text('wrong', { name: 'b' }), restart, text('right', { name: 'c' }), finish()]));
    const all = concat(answer('žluť '), second, answer(' end'));
    expect(await done(all, { maxWaitingChars })).toMatchObject({ chars: 14, bytes: 16 });
    expect(await contents()).toBe('žluť right end');
  });

  it.each([-1, 0, 1, 2, 3, 4, 5])(
    'keeps the answers before it, with the disk ahead up to item %i',
    async (pauseAfter) => {
      const events = [text('žl'), text('uť '), finish(), text('wrong'), restart, text('right')];
      const given = new Subject<StreamEvent>();
      const receipt = done(given);
      await vi.waitUntil(() => given.observed);
      for (const [n, event] of events.entries()) {
        given.next(event);
        if (n === pauseAfter) await turns();
      }
      given.complete();
      expect(await receipt).toMatchObject({ chars: 10, bytes: 12 });
      expect(await contents()).toBe('žluť right');
    },
  );

  it('keeps a proven stream whose finish did not reach the sink', async () => {
    const wrong = fromCall(fakeCall([text('wrong'), restart, text('right'), finish()]));
    const all = concat(answer('one '), wrong);
    await done(
      new Subject<never>().pipe(() => all.pipe(concatMap((event) => (event.type === 'finish' ? EMPTY : of(event))))),
    );
    expect(await contents()).toBe('one right');
  });

  it('does not leave its source paused when what filled the sink is taken back', async () => {
    const write = gate();
    onFiles((file) => ({
      write: async (bytes) => {
        await write.pass();
        await file.write(bytes);
      },
    }));
    const source = pausable<StreamEvent>([text('12345'), text('67890')]);
    const more = new Subject<StreamEvent>();
    const receipt = done(merge(source.source, more), { maxWaitingChars: 5 });
    await write.reached;
    expect(source.told).toEqual([true]);
    more.next(restart);
    write.open();
    await vi.waitUntil(() => source.given === 2);
    more.complete();
    expect(await receipt).toMatchObject({ chars: 5 });
    expect(await contents()).toBe('67890');
  });
});

describe('a slow disk', () => {
  it('pauses the source at maxWaitingChars, holds no more than one item over, and goes on', async () => {
    const maxWaitingChars = 100;
    const size = 7;
    const items = Array.from({ length: 200 }, (_, n) => String(n).padStart(size));
    const source = pausable(items);
    let most = 0;
    let written = 0;
    onFiles((file) => ({
      write: async (bytes) => {
        await turns(1);
        most = Math.max(most, source.given * size - written);
        await file.write(bytes);
        written += bytes.length;
      },
    }));
    await done(source.source, { maxWaitingChars });
    expect(await contents()).toBe(items.join(''));
    expect(most).toBeGreaterThanOrEqual(maxWaitingChars);
    expect(most).toBeLessThan(maxWaitingChars + size);
    expect(source.told.filter((paused) => paused).length).toBeGreaterThan(5);
    expect(source.told.at(-1)).toBe(false);
    expect(source.flow.paused).toBe(false);
  });

  it('pauses nothing that stays below the bound', async () => {
    const source = pausable(['12', '34']);
    await done(source.source, { maxWaitingChars: 5 });
    expect(source.told).toEqual([]);
  });

  it('pauses at the bound itself', async () => {
    const source = pausable(['12345', '6']);
    await done(source.source, { maxWaitingChars: 5 });
    expect(source.told).toEqual([true, false]);
  });

  it('goes on only when what waits is below the bound', async () => {
    const source = pausable(['1234567', '89']);
    const given: number[] = [];
    onFiles((file) => ({
      write: async (bytes) => {
        await turns(1);
        given.push(source.given);
        await file.write(bytes);
      },
    }));
    await done(source.source.pipe(mergeMap((item) => from(item))), { maxWaitingChars: 5 });
    expect(given.slice(0, 2)).toEqual([1, 1]);
    expect(source.told).toEqual([true, false]);
    expect(await contents()).toBe('123456789');
  });

  it('lets another reader of the same stream go on when the sink leaves', async () => {
    const write = gate();
    onFiles((file) => ({
      write: async (bytes) => {
        await write.pass();
        await file.write(bytes);
      },
    }));
    const source = pausable(['12345', '6']);
    const shared = source.source.pipe(share());
    const start = new Subject<void>();
    const late = start.pipe(
      take(1),
      switchMap(() => shared),
    );
    const others: string[] = [];
    const { subscription, receipt } = run(late, { maxWaitingChars: 5 });
    await vi.waitUntil(() => start.observed);
    late.subscribe((piece) => others.push(piece));
    start.next();
    expect(source.flow.paused).toBe(true);
    subscription.unsubscribe();
    expect(others).toEqual(['6']);
    write.open();
    await receipt;
  });

  it('releases a source that is left', async () => {
    const write = gate();
    onFiles((file) => ({
      write: async (bytes) => {
        await write.pass();
        await file.write(bytes);
      },
    }));
    const source = pausable(['12345', '6']);
    const { subscription, receipt } = run(source.source, { maxWaitingChars: 5 });
    await write.reached;
    expect(source.flow.paused).toBe(true);
    subscription.unsubscribe();
    expect(source.flow.paused).toBe(false);
    expect(source.given).toBe(1);
    write.open();
    expect(await receipt).toMatchObject({ outcome: 'stopped', chars: 5 });
    expect(await contents('a.md.partial')).toBe('12345');
  });

  it('pauses the socket', async () => {
    const server = await serve();
    const write = gate();
    let written = 0;
    onFiles((file) => ({
      write: async (bytes) => {
        await write.pass();
        await file.write(bytes);
        written += bytes.length;
      },
    }));
    const [piece, pieces, maxWaitingChars, chunk] = ['x'.repeat(65_536), 200, 10_000, 65_536];
    let received = 0;
    const receipt = done(textFrom(server.url).pipe(tap((part) => (received += part.length))), { maxWaitingChars });
    const exchange = await server.accept();
    const sent = (async (): Promise<void> => {
      for (let n = 0; n < pieces; n += 1) await exchange.write(piece);
    })();
    await write.reached;
    await turns(100);
    expect(received - written).toBeLessThan(maxWaitingChars + 2 * chunk);
    expect(exchange.bytesSent).toBeLessThan(piece.length * pieces);
    write.open();
    await sent;
    await exchange.end();
    expect(await receipt).toMatchObject({ outcome: 'complete', bytes: piece.length * pieces });
    expect((await fs.stat(path)).size).toBe(piece.length * pieces);
  });
});

describe('a disk that refuses', () => {
  /** A disk with room for so many bytes. */
  function full(room: number): void {
    let left = room;
    onFiles((file) => ({
      write: async (bytes) => {
        await file.write(bytes.subarray(0, left));
        if (bytes.length > left) throw refusal('ENOSPC');
        left -= bytes.length;
      },
    }));
  }

  it('is a SinkError; the request is closed and the partial file kept', async () => {
    full(10);
    const server = await serve();
    const failed = failure<SinkError>(textFrom(server.url));
    const exchange = await server.accept();
    await exchange.write('12345678');
    await vi.waitUntil(async () => (await contents('a.md.partial')) === '12345678');
    await exchange.write('90abc');
    const error = await failed;
    expect(error).toBeInstanceOf(SinkError);
    expect(error.message).toContain(path);
    expect(error.message).toContain('ENOSPC');
    expect(error.context).toMatchObject({ code: 'ENOSPC', path });
    expect(error.receipt).toMatchObject({
      outcome: 'failed',
      where: `${path}.partial`,
      chars: 8,
      bytes: 8,
      error: { name: 'SinkError', code: 'ERR_SINK' },
    });
    expect(await exchange.ended).toBe('client');
    expect(await names()).toEqual(['a.md.partial']);
    expect(await contents('a.md.partial')).toBe('1234567890');
  });

  it('in the last write of a complete stream is a SinkError, and nothing is published', async () => {
    full(3);
    const error = await failure(answer('12345'));
    expect(error).toBeInstanceOf(SinkError);
    expect(error.receipt).toMatchObject({ outcome: 'failed', chars: 0, finish: { reason: 'stop' } });
    expect(await names()).toEqual(['a.md.partial']);
  });

  it('in the footer is a SinkError, and the text is kept', async () => {
    full(5);
    const error = await failure(answer('12345'), { footer: () => 'footer' });
    expect(error).toBeInstanceOf(SinkError);
    expect(error.receipt).toMatchObject({ outcome: 'failed', chars: 5, bytes: 5 });
    expect(await contents('a.md.partial')).toBe('12345');
  });

  it.each(['sync', 'close'] as const)(
    'to %s is a SinkError, nothing is published, and the file is closed',
    async (step) => {
      const closed = vi.fn();
      onFiles((file) => ({
        close: async () => {
          closed();
          await file.close();
          if (step === 'close') throw refusal('EIO');
        },
        sync: () => (step === 'sync' ? Promise.reject(refusal('EIO')) : file.sync()),
      }));
      expect(await failure(answer('12345'))).toBeInstanceOf(SinkError);
      expect(closed).toHaveBeenCalledTimes(1);
      expect(await names()).toEqual(['a.md.partial']);
    },
  );

  it('to take text back is a SinkError', async () => {
    onFiles(() => ({ truncate: () => Promise.reject(refusal('EIO')) }));
    const { events, stream } = driven();
    const failed = failure(stream);
    await vi.waitUntil(() => events.observed);
    events.next(text('one'));
    await vi.waitUntil(async () => (await contents('a.md.partial')) === 'one');
    events.next(restart);
    expect(await failed).toBeInstanceOf(SinkError);
    expect(events.observed).toBe(false);
  });

  it('does not hide the error of a stream that failed before; it is a warning', async () => {
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
    full(0);
    const error = await failure(
      concat(
        of('text'),
        throwError(() => new ProviderError('overloaded', { retryable: true })),
      ),
    );
    expect(error).toBeInstanceOf(ProviderError);
    expect(warned).toHaveBeenCalledTimes(1);
    expect(String(warned.mock.calls[0]?.[0])).toContain('ENOSPC');
  });

  it('is a warning where the subscriber has left', async () => {
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
    const writing = gate();
    onFiles(() => ({
      write: async () => {
        await writing.pass();
        throw refusal('ENOSPC');
      },
    }));
    const { subscription, receipt } = run(concat(of('text'), NEVER));
    await writing.reached;
    subscription.unsubscribe();
    writing.open();
    expect(await receipt).toMatchObject({ outcome: 'failed', chars: 0 });
    await vi.waitUntil(() => warned.mock.calls.length === 1);
  });

  it('to remove the lock is a warning, and the file is published', async () => {
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
    const { events, stream } = driven();
    const receipt = done(stream);
    await vi.waitUntil(() => events.observed);
    vi.spyOn(nodeFiles, 'remove').mockImplementation(() => {
      throw refusal('EIO');
    });
    events.next(finish());
    expect(await receipt).toMatchObject({ outcome: 'complete' });
    expect(await names()).toEqual(['a.md', 'a.md.partial.owner']);
    expect(warned).toHaveBeenCalledTimes(1);
  });

  it('is the same where it is a real one', async ({ skip }) => {
    const disk = join(folder, 'disk');
    await fs.mkdir(disk);
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', disk]);
    skip(mounted.status !== 0, 'mounting is not permitted here');
    try {
      path = join(disk, 'a.md');
      const source = pausable(Array.from({ length: 40 }, () => 'x'.repeat(4096)));
      const error = await failure<SinkError>(source.source, { maxWaitingChars: 4096 });
      expect(error).toBeInstanceOf(SinkError);
      expect(error.context).toMatchObject({ code: 'ENOSPC' });
      expect(error.receipt.outcome).toBe('failed');
      expect(source.given).toBeLessThan(40);
      expect(await fs.readdir(disk)).toEqual(['a.md.partial']);
      expect((await fs.stat(`${path}.partial`)).size).toBeGreaterThan(0);
    } finally {
      spawnSync('umount', [disk]);
    }
  });
});

describe('a target that somebody makes meanwhile', () => {
  it('is left alone: SinkError, and the text is in the partial file', async () => {
    const { events, stream } = driven();
    const failed = failure(stream);
    await vi.waitUntil(() => events.observed);
    events.next(text('ours'));
    await write('a.md', 'theirs');
    events.next(finish());
    const error = await failed;
    expect(error).toBeInstanceOf(SinkError);
    expect(error.message).toContain('somebody else');
    expect(error.receipt).toMatchObject({
      outcome: 'failed',
      where: `${path}.partial`,
      chars: 4,
      finish: { reason: 'stop' },
    });
    expect(await contents()).toBe('theirs');
    expect(await contents('a.md.partial')).toBe('ours');
    expect(await names()).toEqual(['a.md', 'a.md.partial']);
  });

  it('is replaced with ifExists: overwrite', async () => {
    const { events, stream } = driven();
    const receipt = done(stream, { ifExists: 'overwrite' });
    await vi.waitUntil(() => events.observed);
    events.next(text('ours'));
    await write('a.md', 'theirs');
    events.next(finish());
    await receipt;
    expect(await contents()).toBe('ours');
  });
});

describe('unsubscribing', () => {
  it('in the same turn asks nothing and leaves nothing', async () => {
    const server = await serve();
    const { subscription, receipt, receipts } = run(textFrom(server.url));
    subscription.unsubscribe();
    expect(await receipt).toMatchObject({ outcome: 'stopped', by: 'unsubscribe', where: 'none' });
    expect(await names()).toEqual([]);
    expect(server.exchanges).toHaveLength(0);
    expect(receipts).toEqual([]);
  });

  it('in the stream aborts the request, keeps what was received and emits nothing', async () => {
    const server = await serve();
    let arrive: () => void = () => undefined;
    const arrived = new Promise<void>((resolve) => (arrive = resolve));
    const closed = vi.fn();
    onFiles((file) => ({
      close: () => {
        closed();
        return file.close();
      },
    }));
    const { subscription, receipt, receipts } = run(
      textFrom(server.url).pipe(
        tap(() => {
          arrive();
        }),
      ),
    );
    const exchange = await server.accept();
    await exchange.write('half a ');
    await arrived;
    subscription.unsubscribe();
    expect(await exchange.ended).toBe('client');
    expect(await receipt).toMatchObject({
      outcome: 'stopped',
      by: 'unsubscribe',
      where: `${path}.partial`,
      chars: 7,
      bytes: 7,
    });
    expect(closed).toHaveBeenCalledTimes(1);
    expect(await names()).toEqual(['a.md.partial']);
    expect(await contents('a.md.partial')).toBe('half a ');
    expect(receipts).toEqual([]);
  });

  it('while something waits for the disk writes that too', async () => {
    const write = gate();
    onFiles((file) => ({
      write: async (bytes) => {
        await write.pass();
        await file.write(bytes);
      },
    }));
    const { events, stream } = driven();
    const { subscription, receipt } = run(stream);
    await vi.waitUntil(() => events.observed);
    for (const piece of ['one ', 'two ', 'three']) events.next(text(piece));
    await write.reached;
    subscription.unsubscribe();
    write.open();
    expect(await receipt).toMatchObject({ outcome: 'stopped', chars: 13 });
    expect(await contents('a.md.partial')).toBe('one two three');
    expect(await names()).toEqual(['a.md.partial']);
  });

  it('while a complete stream is finished lets it be published', async () => {
    const sync = gate();
    onFiles((file) => ({
      sync: async () => {
        await sync.pass();
        await file.sync();
      },
    }));
    const { subscription, receipt, receipts } = run(answer('whole'));
    await sync.reached;
    subscription.unsubscribe();
    sync.open();
    expect(await receipt).toMatchObject({ outcome: 'complete', where: path });
    expect(await names()).toEqual(['a.md']);
    expect(receipts).toEqual([]);
  });
});

describe('a stream that is completed before its proven end', () => {
  const live = (): Observable<StreamEvent> => half('one ', 'two ');
  it.each<[string, () => Observable<StreamEvent | string>]>([
    ['take', (): Observable<StreamEvent> => answer('one ', 'two ').pipe(take(1))],
    ['first', (): Observable<StreamEvent> => answer('one ', 'two ').pipe(first())],
    [
      'takeUntil',
      (): Observable<StreamEvent> =>
        endAfterFirst(fromCall(fakeCall(concat(of(text('one ')), NEVER))), (stop) => takeUntil(stop)),
    ],
    ['catchError', (): Observable<StreamEvent> => live().pipe(catchError(() => EMPTY))],
    [
      'catchError over tokens',
      (): Observable<string> =>
        live().pipe(
          toTokens(),
          catchError(() => of(' (end)')),
        ),
    ],
    ['retry', (): Observable<StreamEvent> => retried()],
  ])('by %s is an InterruptedError that names stopOn, and nothing is published', async (_, source) => {
    const error = await failure<InterruptedError>(source());
    expect(error).toBeInstanceOf(InterruptedError);
    expect(error.message).toContain('stopOn');
    expect(error.receipt).toMatchObject({ outcome: 'interrupted', where: `${path}.partial` });
    expect(await names()).toEqual(['a.md.partial']);
    expect(await contents('a.md.partial')).toContain('one ');
  });

  /** Half an answer, then a whole one: both are in the file. */
  function retried(): Observable<StreamEvent> {
    let attempts = 0;
    return fromCall(() => {
      attempts += 1;
      return fakeCall(attempts === 1 ? [text('one ')] : [text('one '), text('two'), finish()]);
    }).pipe(retry(1));
  }

  it('by retry before its first text is complete', async () => {
    let attempts = 0;
    const source = fromCall(() => {
      attempts += 1;
      return fakeCall(attempts === 1 ? [] : [text('whole'), finish()]);
    });
    expect(await done(source.pipe(retry(1)))).toMatchObject({ outcome: 'complete', attempts: 2 });
    expect(await contents()).toBe('whole');
  });
});

describe('publishOn', () => {
  it.each([
    ['stop', ['a.md'], 'a.md'],
    ['tool-calls', ['a.md'], 'a.md'],
    ['length', ['a.md.partial'], 'a.md.partial'],
    ['content-filter', ['a.md.partial'], 'a.md.partial'],
  ] as const)('leaves or publishes a text that ended by %s', async (reason, files, where) => {
    for (const source of [
      fromCall(fakeCall([text('x'), finish(reason)])),
      fromCall(fakeCall([text('x'), finish(reason)])).pipe(toTokens()),
      of(text('x'), finish(reason)),
    ]) {
      const receipt = await done(source, {
        publishOn: ['stop', 'tool-calls'],
        ifExists: 'overwrite',
        footer: () => '!',
      });
      expect(receipt).toMatchObject({ outcome: 'complete', finish: { reason }, where: join(folder, where) });
      expect(await names()).toEqual(files);
      expect(await contents(where)).toBe(where === 'a.md' ? 'x!' : 'x');
    }
  });

  it('leaves a text of which nobody knows how it ended', async () => {
    const receipt = await done(of('x'), { publishOn: ['stop'] });
    expect(receipt).toMatchObject({ outcome: 'complete', where: `${path}.partial` });
  });

  it('publishes every complete text where it is not given', async () => {
    await done(fromCall(fakeCall([text('x'), finish('length')])));
    expect(await names()).toEqual(['a.md']);
  });
});

describe('a footer', () => {
  it('of true is a line on what the text is', async () => {
    const usage: StreamEvent = {
      type: 'usage',
      outputTokens: 42,
      cost: { total: 0.25, currency: 'USD' },
      provenance: 'reported',
    };
    const call = fakeCall([text('The text.'), usage, finish()], { provider: 'mill', model: 'wheel-1' });
    const receipt = await done(fromCall(call), { footer: true });
    expect(await contents()).toMatch(/^The text\.\n\n---\nmill wheel-1 · stop · 42 tokens · 0\.25 USD · \d+\.\d s\n$/);
    expect(receipt).toMatchObject({ chars: 9, bytes: (await fs.stat(path)).size });
  });

  it('of true says only what is known', async () => {
    await done(of('x'), { footer: true });
    expect(await contents()).toMatch(/^x\n\n---\n\d+\.\d s\n$/);
  });

  it('of a function is its text, made of a receipt that knows the file', async () => {
    const footer = vi.fn((receipt: Receipt) => ` (${String(receipt.bytes)} bytes, ${receipt.outcome})`);
    const receipt = await done(answer('žluť'), { footer });
    expect(footer).toHaveBeenCalledTimes(1);
    expect(footer.mock.calls[0]?.[0]).toMatchObject({
      where: path,
      chars: 4,
      bytes: 6,
      outcome: 'complete',
      provider: 'fake',
    });
    expect(await contents()).toBe('žluť (6 bytes, complete)');
    expect(receipt).toMatchObject({ chars: 4, bytes: 26 });
  });

  it('that throws is a SinkError; the file is closed and the text kept', async () => {
    const closed = vi.fn();
    onFiles((file) => ({
      close: () => {
        closed();
        return file.close();
      },
    }));
    const thrown = new Error('no footer today');
    const error = await failure<SinkError>(answer('text'), {
      footer: () => {
        throw thrown;
      },
    });
    expect(error).toBeInstanceOf(SinkError);
    expect(error.cause).toBe(thrown);
    expect(closed).toHaveBeenCalledTimes(1);
    expect(await names()).toEqual(['a.md.partial']);
    expect(await contents('a.md.partial')).toBe('text');
  });

  it.each<[string, () => Observable<StreamEvent>]>([
    [
      'failed',
      (): Observable<StreamEvent> =>
        concat(
          of(text('x')),
          throwError(() => new Error('no')),
        ),
    ],
    ['interrupted', (): Observable<StreamEvent> => half('x')],
    ['stopped', (): Observable<StreamEvent> => endAfterFirst(concat(of(text('x')), NEVER), (stop) => stopOn(stop))],
  ])('is not written under a stream that %s', async (_, source) => {
    const footer = vi.fn(() => '!');
    await run(source(), { footer }).ended;
    expect(footer).not.toHaveBeenCalled();
    expect(await contents('a.md.partial')).toBe('x');
  });
});

describe('the receipt', () => {
  const timings = {
    startedAt: expect.any(Number) as number,
    firstContentMs: expect.any(Number) as number,
    totalMs: expect.any(Number) as number,
  };
  const usage: StreamEvent = { type: 'usage', inputTokens: 1, outputTokens: 2, provenance: 'reported' };
  const warning: StreamEvent = { type: 'warning', code: 'frame-skipped', message: 'skipped' };

  it('of a complete stream', async () => {
    const events = [text('žluť'), warning, usage, { type: 'finish', reason: 'stop', rawReason: 'end_turn' } as const];
    expect(await done(fromCall(fakeCall(events, { model: 'm' })))).toStrictEqual({
      provider: 'fake',
      model: 'm',
      where: path,
      chars: 4,
      bytes: 6,
      outcome: 'complete',
      finish: { reason: 'stop', rawReason: 'end_turn' },
      timings,
      usage: { inputTokens: 1, outputTokens: 2, provenance: 'reported' },
      attempts: 1,
      restarts: 0,
      warnings: [warning],
      requestIds: [],
      billing: 'ended',
    });
  });

  it('of a complete stream without a flow', async () => {
    expect(await done(of(text('x'), warning, usage, finish('length')))).toStrictEqual({
      where: path,
      chars: 1,
      bytes: 1,
      outcome: 'complete',
      finish: { reason: 'length' },
      timings: { startedAt: timings.startedAt, totalMs: timings.totalMs },
      usage: { inputTokens: 1, outputTokens: 2, provenance: 'reported' },
      attempts: 0,
      restarts: 0,
      warnings: [warning],
      requestIds: [],
      billing: 'ended',
    });
  });

  it('of a failed stream, on its error', async () => {
    const thrown = new ProviderError('the model is ill', { retryable: false });
    const events = concat(
      of(text('x'), usage),
      throwError(() => thrown),
    );
    const error = await failure<ProviderError>(fromCall(fakeCall(events)));
    expect(error).toBe(thrown);
    expect(error.receipt).toStrictEqual({
      provider: 'fake',
      where: `${path}.partial`,
      chars: 1,
      bytes: 1,
      outcome: 'failed',
      error: { name: 'ProviderError', code: 'ERR_PROVIDER', message: 'the model is ill' },
      timings,
      usage: { inputTokens: 1, outputTokens: 2, provenance: 'partial' },
      attempts: 1,
      restarts: 0,
      warnings: [],
      requestIds: [],
      billing: 'ended',
    });
    expect(error.received).toMatchObject({ text: 'x' });
  });

  it('of an interrupted stream, on its error', async () => {
    const error = await failure<InterruptedError>(half('x'));
    expect(error).toBeInstanceOf(InterruptedError);
    expect(error.receipt).toStrictEqual({
      provider: 'fake',
      where: `${path}.partial`,
      chars: 1,
      bytes: 1,
      outcome: 'interrupted',
      error: { name: 'InterruptedError', code: 'ERR_INTERRUPTED', message: expect.any(String) as string },
      timings,
      usage: { provenance: 'unknown' },
      attempts: 1,
      restarts: 0,
      warnings: [],
      requestIds: [],
      billing: 'continues',
    });
  });

  it.each(['notifier', 'signal'] as const)('of a stream that a %s stopped, which completes', async (by) => {
    const { events, stream } = driven();
    const [stop, controller] = [new Subject<void>(), new AbortController()];
    const { ended, receipts } = run(stream.pipe(stopOn(by === 'signal' ? controller.signal : stop)));
    await vi.waitUntil(() => events.observed);
    events.next(text('x'));
    if (by === 'signal') controller.abort();
    else stop.next();
    expect(await ended).toBe('complete');
    expect(receipts).toStrictEqual([
      {
        provider: 'fake',
        where: `${path}.partial`,
        chars: 1,
        bytes: 1,
        outcome: 'stopped',
        by,
        timings,
        usage: { provenance: 'unknown' },
        attempts: 1,
        restarts: 0,
        warnings: [],
        requestIds: [],
        billing: 'ended',
      },
    ]);
    expect(await contents('a.md.partial')).toBe('x');
    expect(events.observed).toBe(false);
  });

  it('of a call that its own signal stopped, on its AbortError', async () => {
    const controller = new AbortController();
    const server = await serve();
    const call = { ...fakeCall([]), stream: () => ({ method: 'GET' as const, url: server.url, accept: [] }) };
    for (const key of Object.getOwnPropertySymbols(call)) Reflect.deleteProperty(call, key);
    const failed = failure<AbortError>(fromCall(call, { signal: controller.signal }));
    await server.accept();
    controller.abort();
    const error = await failed;
    expect(error).toBeInstanceOf(AbortError);
    expect(error.receipt).toMatchObject({ outcome: 'stopped', by: 'signal', billing: 'ended' });
    expect(error.receipt).not.toHaveProperty('error');
  });

  it('has the request’s own facts', async () => {
    const server = await serve();
    const receipt = done(textFrom(server.url));
    const exchange = await server.accept();
    exchange.respond({ headers: { 'content-type': 'text/plain', 'x-request-id': 'req_7' } });
    await exchange.end('x');
    expect(await receipt).toMatchObject({
      outcome: 'complete',
      attempts: 1,
      requestIds: ['req_7'],
      timings: { headersMs: expect.any(Number) as number },
    });
  });

  it('of a request that was refused', async () => {
    const server = await serve();
    const failed = failure(textFrom(server.url));
    const exchange = await server.accept();
    exchange.respond({ status: 429, headers: { 'x-request-id': 'req_8' } });
    await exchange.end();
    const { receipt } = await failed;
    expect(receipt).toMatchObject({
      outcome: 'failed',
      attempts: 1,
      requestIds: ['req_8'],
      chars: 0,
      billing: 'ended',
    });
  });

  it('of a request that was refused, and asked for late', async () => {
    const server = await serve();
    const failed = failure(timer(1).pipe(concatMap(() => textFrom(server.url))));
    const exchange = await server.accept();
    exchange.respond({ status: 429, headers: { 'x-request-id': 'req_9' } });
    await exchange.end();
    const { receipt } = await failed;
    expect(receipt).toMatchObject({ outcome: 'failed', attempts: 1, requestIds: ['req_9'] });
  });

  it('of a stream that a reset cut', async () => {
    const server = await serve();
    let arrive: () => void = () => undefined;
    const arrived = new Promise<void>((resolve) => (arrive = resolve));
    const failed = failure(
      textFrom(server.url).pipe(
        tap(() => {
          arrive();
        }),
      ),
    );
    const exchange = await server.accept();
    await exchange.write('half');
    await arrived;
    exchange.reset();
    const error = await failed;
    expect(error).toBeInstanceOf(InterruptedError);
    expect(error.receipt).toMatchObject({ outcome: 'interrupted', chars: 4 });
    expect(await contents('a.md.partial')).toBe('half');
  });

  it('is on errors of every kind that can carry it', async () => {
    const plain = new Error('plain');
    expect((await failure(throwError(() => plain))).receipt).toMatchObject({
      outcome: 'failed',
      error: { name: 'Error', message: 'plain' },
    });
    const frozen = Object.freeze(new Error('frozen'));
    expect(await run(throwError(() => frozen)).ended).toBe(frozen);
  });

  it.each([undefined, null, 'a word'])('is not mistaken for success where %s is thrown', async (thrown) => {
    const { ended, receipts, receipt } = run(throwError(() => thrown));
    expect(await ended).toBe(thrown);
    expect(receipts).toEqual([]);
    expect(await receipt).toMatchObject({ outcome: 'failed', error: { message: String(thrown) } });
  });

  it('whose reader throws is that throw, not silence', async () => {
    const thrown = new Error('thrown by the test');
    const failing = answer('x').pipe(
      toFile(path),
      tapReceipt(() => {
        throw thrown;
      }),
    );
    await expect(firstValueFrom(failing)).rejects.toBe(thrown);
  });
});
