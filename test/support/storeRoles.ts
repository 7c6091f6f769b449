import { firstValueFrom, lastValueFrom, Observable, reduce, type Subscription, timer } from 'rxjs';
import { fromCall } from '../../src/sources/fromCall.js';
import { fromStore } from '../../src/sources/fromStore.js';
import { toStore } from '../../src/sinks/toStore.js';
import { fakeCall } from '../../src/testing/fakeCall.js';
import { isMillraceError } from '../../src/errors.js';
import type { StreamStore } from '../../src/protocol/streamStore.js';
import type { StreamEvent } from '../../src/types.js';

/** A stream of the play: what it says, and since when. */
export interface PlayedStream {
  readonly id: string;
  /** Epoch milliseconds. Its provider goes on by itself: who asks again is told at once what was told until now. */
  readonly startedAt: number;
  readonly pieces: number;
  readonly everyMs: number;
}

/** What a process of the play is to do; it comes as JSON on its command line. */
export interface Play {
  readonly role: 'writer' | 'reader';
  readonly streams: readonly PlayedStream[];
  readonly leaseMs: number;
}

/** What a reader says on a line of its own, when it has come to the end of a stream. */
export interface ReaderReport {
  readonly id: string;
  readonly text: string;
  /** How often it was told that the answer began anew. */
  readonly restarts: number;
  /** How often it had to read the stream from its beginning, since it was told that it was interrupted. */
  readonly interrupted: number;
}

/** The piece of a stream with this number: no two are alike. */
export function pieceOf(id: string, number: number): string {
  return `${id} says ${String(number)} — 水。\n`;
}

export function textOf({ id, pieces }: PlayedStream): string {
  return Array.from({ length: pieces }, (_, number) => pieceOf(id, number)).join('');
}

/** Plays its role until it is over; readers print a line for each stream. */
export async function play(store: StreamStore, { role, streams, leaseMs }: Play): Promise<void> {
  const part = role === 'writer' ? write : read;
  await Promise.all(streams.map((stream) => part(store, stream, leaseMs)));
  await store.close();
}

/** The provider's answer, as it stands and as it goes on. */
export function answerOf({ id, startedAt, pieces, everyMs }: PlayedStream): Observable<StreamEvent> {
  return new Observable<StreamEvent>((subscriber) => {
    let told = 0;
    let waiting: Subscription | undefined;
    const tell = (): void => {
      for (; told < pieces && startedAt + told * everyMs <= Date.now(); told += 1) {
        if (subscriber.closed) return;
        subscriber.next({ type: 'text', text: pieceOf(id, told), index: 0, name: 'output' });
      }
      if (told < pieces) waiting = timer(everyMs).subscribe(tell);
      else {
        subscriber.next({ type: 'finish', reason: 'stop' });
        subscriber.complete();
      }
    };
    subscriber.add(() => waiting?.unsubscribe());
    tell();
  });
}

/** Writes a stream where nobody else does, and takes it over where its writer is gone, until it is closed. */
async function write(store: StreamStore, stream: PlayedStream, leaseMs: number): Promise<void> {
  for (;;) {
    try {
      await firstValueFrom(fromCall(fakeCall(answerOf(stream))).pipe(toStore(store, stream.id, { leaseMs })));
      return;
    } catch (error) {
      const reason = isMillraceError(error) && 'reason' in error ? error.reason : undefined;
      if (reason === undefined) throw error;
    }
    if ((await standing(store, stream.id)) === 'closed') return;
  }
}

/** Waits until a stream is closed, or nobody writes it. */
async function standing(store: StreamStore, id: string): Promise<'closed' | 'orphaned'> {
  for (;;) {
    try {
      for await (const { state } of store.tail(id, undefined, new AbortController().signal)) {
        if (state === 'closed' || state === 'orphaned') return state;
      }
    } catch (error) {
      if (!isMillraceError(error)) throw error;
    }
    await firstValueFrom(timer(20));
  }
}

async function read(store: StreamStore, { id }: PlayedStream): Promise<void> {
  let interrupted = 0;
  for (;;) {
    try {
      const { text, restarts } = await lastValueFrom(
        fromStore(store, id, { orphanMs: 3_000 }).pipe(
          reduce(
            (all, event) => {
              if (event.type === 'restart') return { text: '', restarts: all.restarts + 1 };
              return event.type === 'text' ? { ...all, text: all.text + event.text } : all;
            },
            { text: '', restarts: 0 },
          ),
        ),
      );
      const report: ReaderReport = { id, text, restarts, interrupted };
      process.stdout.write(`${JSON.stringify(report)}\n`);
      return;
    } catch (error) {
      if (!isMillraceError(error)) throw error;
      interrupted += 1;
      await firstValueFrom(timer(50)); // there may be no such stream yet
    }
  }
}
