import {
  asapScheduler,
  catchError,
  concat,
  concatMap,
  defer,
  delay,
  EMPTY,
  filter,
  from,
  lastValueFrom,
  map,
  merge,
  mergeMap,
  Observable,
  observeOn,
  of,
  retry,
  scan,
  share,
  Subject,
  switchMap,
  take,
  takeUntil,
} from 'rxjs';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { InterruptedError } from '../../src/errors.js';
import { type Ending, Evidence, type Verdict } from '../../src/internal/evidence.js';
import { Flow, leaveAs, register, runApart, Scope, subscribeWithin } from '../../src/internal/flow.js';
import { Keeper, Position } from '../../src/internal/position.js';
import { draw, operate } from '../../src/internal/operate.js';
import { isolate } from '../../src/operators/isolate.js';
import { retryOnDisconnect } from '../../src/operators/retryOnDisconnect.js';

/** A source with a flow of its own, driven by the test. */
class Stream {
  readonly flows: Flow[] = [];
  readonly #subscribers: ((run: (flow: Flow) => void) => void)[] = [];
  readonly source: Observable<string> = new Observable((subscriber) => {
    const flow = new Flow({ provider: 'test', call: this });
    this.flows.push(flow);
    subscriber.add(() => flow.leave());
    register(flow);
    this.#subscribers.push((run) => {
      run(flow);
    });
    this.#observer = subscriber;
  });
  #observer: { next(text: string): void; error(error: unknown): void; complete(): void } | undefined;

  get flow(): Flow {
    const flow = this.flows.at(-1);
    if (flow === undefined) throw new Error('nobody has subscribed');
    return flow;
  }

  text(text: string): void {
    const { flow } = this;
    flow.deliver(() => {
      flow.onContent(text.length);
      this.#observer?.next(text);
    });
  }

  prove(): void {
    const { flow } = this;
    flow.proven = true;
    flow.end('complete');
    flow.deliver(() => this.#observer?.complete());
  }

  cut(error: unknown = new InterruptedError('cut')): void {
    const { flow } = this;
    flow.end('error');
    flow.deliver(() => {
      this.#observer?.error(error);
    });
  }
}

interface Sink {
  readonly evidence: Evidence;
  readonly texts: string[];
  verdict: Verdict | undefined;
  leave(): void;
}

/** A sink that notes what it got and judges at the end. */
function sink(source: Observable<string>, onText?: (evidence: Evidence) => void): Sink {
  const texts: string[] = [];
  let evidence: Evidence | undefined;
  const result: { verdict: Verdict | undefined } = { verdict: undefined };
  const subscription = source
    .pipe(
      operate<string, never>((upstream, subscriber) => {
        const own = new Evidence('sink');
        evidence = own;
        let ending: Ending = { kind: 'left' };
        draw<string>(upstream, subscriber, own.scope, () => ({
          next: (text) => {
            own.note(text);
            texts.push(text);
            onText?.(own);
          },
          error: (error) => {
            ending = { kind: 'error', error };
          },
          complete: () => {
            own.currentFlow();
            ending = { kind: 'complete' };
          },
          left: () => {
            own.scope.release();
            result.verdict = own.judge(ending);
          },
        }));
      }),
    )
    .subscribe();
  return Object.assign(result, {
    texts,
    evidence: evidence as unknown as Evidence,
    leave: (): void => {
      subscription.unsubscribe();
    },
  });
}

let stream: Stream;
beforeEach(() => {
  stream = new Stream();
});

const interrupted: unknown = expect.objectContaining({
  outcome: 'interrupted',
  error: expect.any(InterruptedError) as unknown,
});

describe('evidence', () => {
  it('makes a proven stream complete', () => {
    const { verdict, texts } = ((): Sink => {
      const it = sink(stream.source);
      stream.text('a');
      stream.prove();
      return it;
    })();
    expect(verdict).toEqual({ outcome: 'complete' });
    expect(texts).toEqual(['a']);
  });

  it('makes a source without a flow complete', () => {
    expect(sink(of('a', 'b')).verdict).toEqual({ outcome: 'complete' });
  });

  it.each<[string, (stop: Subject<void>) => (source: Observable<string>) => Observable<string>]>([
    ['takeUntil', (stop) => takeUntil(stop)],
    ['takeUntil, behind a delay', (stop) => (source) => source.pipe(delay(0), takeUntil(stop))],
    [
      'takeUntil, behind another scheduler',
      (stop) => (source) => source.pipe(observeOn(asapScheduler), takeUntil(stop)),
    ],
    ['takeUntil, through share', (stop) => (source) => source.pipe(share(), takeUntil(stop))],
    [
      'takeUntil, through switchMap',
      (stop) => (source) =>
        of(0).pipe(
          switchMap(() => source),
          takeUntil(stop),
        ),
    ],
    ['takeUntil, of a merge', (stop) => (source) => merge(source, of('x')).pipe(takeUntil(stop))],
  ])('tells half a stream from a whole one: %s', (_, cut) => {
    const stop: Subject<void> = new Subject();
    const end = sink(stream.source.pipe(cut(stop)));
    stream.text('half');
    stop.next();
    expect(end.verdict).toEqual(interrupted);
    expect(stream.flow.left).toEqual({ verb: 'stop', by: 'unsubscribe' });
  });

  it('tells half a stream from a whole one: take', () => {
    const end = sink(stream.source.pipe(take(1)));
    stream.text('half');
    expect(end.verdict).toEqual(interrupted);
  });

  it.each([0, 1])('tells half a stream from a whole one: catchError(() => EMPTY) after %i pieces', (pieces) => {
    const end = sink(stream.source.pipe(catchError(() => EMPTY)));
    for (let i = 0; i < pieces; i += 1) stream.text('half');
    stream.cut();
    expect(end.verdict).toEqual(interrupted);
  });

  it('judges nothing by an attempt that failed before it gave anything, once another is proven', () => {
    const end = sink(stream.source.pipe(retry(1)));
    stream.cut();
    stream.text('whole');
    stream.prove();
    expect(end.verdict).toEqual({ outcome: 'complete' });
  });

  it('does not take a doubled text for a whole one: retry after half of it was given', () => {
    const end = sink(stream.source.pipe(retry(1)));
    stream.text('half');
    stream.cut();
    stream.text('whole');
    stream.prove();
    expect(end.texts).toEqual(['half', 'whole']);
    expect(end.verdict).toEqual(interrupted);
  });

  describe('with an asynchronous token in front of the call', () => {
    const token = (): Observable<string> => from(Promise.resolve('token'));

    it.each<[string, (inner: Observable<string>) => Observable<string>]>([
      ['mergeMap', (inner) => token().pipe(mergeMap(() => inner))],
      ['switchMap', (inner) => token().pipe(switchMap(() => inner))],
      ['concatMap', (inner) => token().pipe(concatMap(() => inner))],
      ['defer and switchMap', (inner) => defer(token).pipe(switchMap(() => inner))],
      ['concat', (inner) => concat(token().pipe(filter(() => false)), inner)],
    ])('an early end is known before the first piece, through %s', async (_, through) => {
      const stop: Subject<void> = new Subject();
      const end = sink(through(stream.source).pipe(takeUntil(stop)));
      await vi.waitUntil(() => stream.flows.length === 1);
      stop.next();
      expect(end.verdict).toEqual(interrupted);
    });

    it('a proven end is known', async () => {
      const end = sink(token().pipe(switchMap(() => stream.source)));
      await vi.waitUntil(() => stream.flows.length === 1);
      stream.text('a');
      stream.prove();
      expect(end.verdict).toEqual({ outcome: 'complete' });
    });
  });

  it('does not ask flows that an operator ended on purpose', () => {
    const loser = new Stream();
    const stop: Subject<void> = new Subject();
    const end = sink(merge(stream.source, loser.source.pipe(takeUntil(stop))));
    loser.text('x');
    loser.flow.excused = true;
    stop.next();
    stream.prove();
    expect(end.verdict).toEqual({ outcome: 'complete' });
  });

  it('does not mix up two sinks', () => {
    const other = new Stream();
    const [one, two] = [sink(stream.source), sink(other.source)];
    stream.text('a');
    other.text('b');
    stream.prove();
    other.cut();
    expect(one.verdict).toEqual({ outcome: 'complete' });
    expect(two.verdict).toMatchObject({ outcome: 'interrupted' });
  });

  it('forgets proven flows, so that a sink of many streams does not grow', () => {
    const inputs: Subject<Stream> = new Subject();
    const end = sink(inputs.pipe(mergeMap(({ source }) => source)));
    for (let i = 0; i < 1000; i += 1) {
      const one = new Stream();
      inputs.next(one);
      one.text('a');
      one.prove();
    }
    expect(end.evidence.scope.flows.size).toBe(0);
    expect(end.evidence.scope.nearby.size).toBe(0);
  });
});

describe('verbs', () => {
  it('an unsubscribe from below is a stop', () => {
    const end = sink(stream.source.pipe(map((text) => text)));
    stream.text('a');
    end.leave();
    expect(stream.flow.left).toEqual({ verb: 'stop', by: 'unsubscribe' });
    expect(end.verdict).toEqual({ outcome: 'stopped', by: 'unsubscribe' });
  });

  it.each(['disconnect', 'detach', 'drain'] as const)('%s travels up with the unsubscription', (verb) => {
    const subscription = stream.source
      .pipe(
        map((text) => text),
        share(),
      )
      .subscribe();
    leaveAs(verb, 'unsubscribe', () => {
      subscription.unsubscribe();
    });
    expect(stream.flow.left?.verb).toBe(verb);
  });

  it('an operator that disconnects leaves other flows alone', () => {
    const other = new Stream();
    const [one, two] = [stream.source.subscribe(), other.source.subscribe()];
    leaveAs('disconnect', 'unsubscribe', () => {
      one.unsubscribe();
    });
    two.unsubscribe();
    expect(stream.flow.left?.verb).toBe('disconnect');
    expect(other.flow.left?.verb).toBe('stop');
  });

  it('what has ended cannot be left any more', () => {
    const end = sink(stream.source);
    stream.prove();
    end.leave();
    expect(stream.flow.left).toBeUndefined();
  });
});

describe('pressure', () => {
  it.each<[string, (source: Observable<string>) => Observable<string>]>([
    [
      'map, filter and scan',
      (source) =>
        source.pipe(
          map((x) => x),
          filter(() => true),
          scan((_, x) => x, ''),
        ),
    ],
    ['mergeMap', (source) => source.pipe(mergeMap((text) => of(text)))],
    ['switchMap', (source) => source.pipe(switchMap((text) => of(text)))],
    ['share', (source) => source.pipe(share())],
  ])('pauses exactly the stream that fills the sink, through %s', (_, through) => {
    const other = new Stream();
    const end = sink(merge(through(stream.source), other.source));
    stream.text('a');
    stream.flow.deliver(() => {
      end.evidence.scope.pause();
    });
    expect([stream.flow.paused, other.flow.paused]).toEqual([true, false]);
    end.evidence.scope.release();
    expect(stream.flow.paused).toBe(false);
  });

  it('pauses all it draws from when an asynchronous operator hides who fills it', () => {
    const [other, stranger] = [new Stream(), new Stream()];
    const end = sink(merge(stream.source, other.source).pipe(delay(0)));
    sink(stranger.source);
    end.evidence.scope.pause();
    expect([stream.flow.paused, other.flow.paused, stranger.flow.paused]).toEqual([true, true, false]);
    end.evidence.scope.release();
    expect([stream.flow.paused, other.flow.paused]).toEqual([false, false]);
  });

  it('reaches a stream that was subscribed while another delivered', () => {
    const late = new Stream();
    const end = sink(
      stream.source.pipe(
        mergeMap(() => late.source),
        observeOn(asapScheduler),
      ),
    );
    stream.text('go');
    end.evidence.scope.pause();
    expect(late.flow.paused).toBe(true);
  });

  it('reaches streams that no sink could claim, when it cannot tell who fills it', async () => {
    const end = sink(
      from(Promise.resolve(0)).pipe(
        mergeMap(() => stream.source),
        delay(0),
      ),
    );
    await vi.waitUntil(() => stream.flows.length === 1);
    end.evidence.scope.pause();
    expect(stream.flow.paused).toBe(true);
    end.leave();
    expect(stream.flow.paused).toBe(false);
  });

  it('reaches a late stream through a retry that nobody was below when it was subscribed to', async () => {
    const end = sink(
      from(Promise.resolve(0)).pipe(
        mergeMap(() => stream.source.pipe(retryOnDisconnect())),
        delay(0),
      ),
    );
    await vi.waitUntil(() => stream.flows.length === 1);
    end.evidence.scope.pause();
    expect(stream.flow.paused).toBe(true);
    end.leave();
  });

  it('reaches a stream that a late one began', async () => {
    const begun = new Stream();
    const end = sink(
      from(Promise.resolve(0)).pipe(
        mergeMap(() => stream.source),
        mergeMap(() => begun.source),
        delay(0),
      ),
    );
    await vi.waitUntil(() => stream.flows.length === 1);
    stream.text('go');
    end.evidence.scope.pause();
    expect(begun.flow.paused).toBe(true);
    end.leave();
  });

  it('spares strangers while what it knows may be on its way, and no longer', () => {
    const stranger = new Stream();
    const plain = stranger.source.subscribe();
    const end = sink(stream.source.pipe(delay(0)));
    // The first pauses what it knows; 1,023 more may have been on their way.
    for (let item = 0; item < 1_024; item += 1) end.evidence.scope.pause();
    expect([stream.flow.paused, stranger.flow.paused]).toEqual([true, false]);
    end.evidence.scope.pause();
    expect([stream.flow.paused, stranger.flow.paused]).toEqual([true, true]);
    end.evidence.scope.release();
    expect([stream.flow.paused, stranger.flow.paused]).toEqual([false, false]);
    end.evidence.scope.pause();
    expect(stranger.flow.paused).toBe(false);
    end.leave();
    plain.unsubscribe();
  });

  it('spares a stranger that is isolated, and pauses the one that is not', () => {
    const [stranger, isolated] = [new Stream(), new Stream()];
    const plain = merge(stranger.source, isolated.source.pipe(isolate())).subscribe();
    const end = sink(new Subject<string>());
    end.evidence.scope.pause();
    expect([stranger.flow.paused, isolated.flow.paused]).toEqual([true, false]);
    end.leave();
    plain.unsubscribe();
  });

  it('spares strangers for a stream that fills it through an isolate', () => {
    const stranger = new Stream();
    const plain = stranger.source.subscribe();
    const end = sink(stream.source.pipe(isolate(), delay(0)));
    for (let item = 0; item < 3_000; item += 1) end.evidence.scope.pause();
    expect([stream.flow.paused, stranger.flow.paused]).toEqual([false, false]);
    end.leave();
    plain.unsubscribe();
  });

  it('of one branch of a shared stream is kept from it by an isolate there, of the other is not', () => {
    const shared = stream.source.pipe(share());
    const isTold: boolean[] = [];
    const fill = ({ scope }: Evidence): void => {
      scope.pause();
      isTold.push(stream.flow.paused);
    };
    const [one, two] = [sink(shared.pipe(isolate()), fill), sink(shared, fill)];
    stream.text('a');
    expect(isTold).toEqual([false, true]);
    two.evidence.scope.release();
    expect(stream.flow.paused).toBe(false);
    one.leave();
    two.leave();
  });

  it('does not pass an isolate between a decoder and its requests', () => {
    const answer = new Flow();
    const scope = new Scope(true, answer);
    subscribeWithin(scope, () => stream.source.pipe(isolate()).subscribe());
    answer.pause(scope);
    expect(stream.flow.paused).toBe(false);
    answer.release(scope);
  });

  it('is released by a sink that leaves, and held as long as one sink of two is full', () => {
    const shared = stream.source.pipe(share());
    const [one, two] = [sink(shared), sink(shared)];
    stream.flow.deliver(() => {
      one.evidence.scope.pause();
      two.evidence.scope.pause();
    });
    one.leave();
    expect(stream.flow.paused).toBe(true);
    two.evidence.scope.release();
    expect(stream.flow.paused).toBe(false);
  });

  it('stops the clock that counts silence', () => {
    vi.useFakeTimers();
    try {
      sink(stream.source);
      stream.flow.pause(stream);
      vi.advanceTimersByTime(70);
      expect(stream.flow.pausedMs()).toBe(70);
      stream.flow.release(stream);
      vi.advanceTimersByTime(5);
      expect(stream.flow.pausedMs()).toBe(70);
    } finally {
      vi.useRealTimers();
    }
  });

  it('goes through to the requests of a decoder, also to later ones', () => {
    const answer = new Flow();
    const scope = new Scope(true, answer);
    const subscribe = (source: Stream): void => {
      subscribeWithin(scope, () => source.source.subscribe());
    };
    subscribe(stream);
    answer.pause(scope);
    const second = new Stream();
    subscribe(second);
    expect([stream.flow.paused, second.flow.paused]).toEqual([true, true]);
    answer.release(scope);
    expect([stream.flow.paused, second.flow.paused]).toEqual([false, false]);
  });
});

describe('position', () => {
  it('is taken back by the same call beneath the same keeper, and by no other', () => {
    const keeper = new Scope(false);
    keeper.keeper = new Keeper('restart');
    const other = new Stream();
    subscribeWithin(keeper, () => {
      stream.source.subscribe();
      other.source.subscribe();
    });
    stream.text('four');
    keeper.keeper.hold();
    subscribeWithin(keeper, () => {
      stream.source.subscribe();
    });
    const [first, second] = stream.flows;
    expect(second?.position).toBe(first?.position);
    expect(second?.position).toMatchObject({ chars: 4, content: true, takenBy: 2 });
    expect(other.flow.position).toMatchObject({ chars: 0, takenBy: 1 });
  });

  it('is new where nobody keeps it', () => {
    stream.source.subscribe();
    stream.text('four');
    stream.source.subscribe();
    expect(stream.flow.position).toEqual(new Position());
    expect(stream.flows[0]?.position).not.toBe(stream.flow.position);
  });

  it('is not taken back behind an asynchronous step, so that a keeper can see that it was not', async () => {
    const keeper = new Scope(false);
    keeper.keeper = new Keeper('restart');
    subscribeWithin(keeper, () => {
      from(Promise.resolve(0))
        .pipe(switchMap(() => stream.source))
        .subscribe();
    });
    expect(keeper.keeper.positions.length).toBe(0);
    await vi.waitUntil(() => stream.flows.length === 1);
    expect(keeper.keeper.positions.length).toBe(0);
  });
});

describe('two copies of the package', () => {
  it('agree on flows, sinks, verbs and pressure', async () => {
    vi.resetModules();
    const copy = await import('../../src/internal/flow.js');
    expect(copy.Flow).not.toBe(Flow);
    const flows: InstanceType<typeof copy.Flow>[] = [];
    const source: Observable<string> = new Observable((subscriber) => {
      const flow = new copy.Flow();
      flows.push(flow);
      subscriber.add(() => flow.leave());
      copy.register(flow);
      flow.deliver(() => {
        flow.onContent(1);
        subscriber.next('a');
      });
    });
    const stop: Subject<void> = new Subject();
    const end = sink(source.pipe(takeUntil(stop)));
    const [flow] = flows;
    end.evidence.scope.pause();
    expect(flow?.paused).toBe(true);
    leaveAs('disconnect', 'unsubscribe', () => {
      stop.next();
    });
    expect(flow?.left?.verb).toBe('disconnect');
    expect(flow?.paused).toBe(false);
    expect(end.verdict).toEqual(interrupted);
  });
});

it('keeps a request of the library’s own away from everybody’s evidence', () => {
  const end = sink(
    new Observable<string>((subscriber) => {
      runApart(() => stream.source.subscribe());
      subscriber.complete();
    }),
  );
  expect(end.verdict).toEqual({ outcome: 'complete' });
  expect(stream.flow.scopes.size).toBe(0);
});

it('leaves nothing behind on the stack when a subscriber throws', async () => {
  const scope = new Scope(false);
  expect(() => {
    subscribeWithin(scope, () => {
      throw new Error('in subscribe');
    });
  }).toThrow();
  expect(() => {
    new Flow().deliver(() => {
      throw new Error('in next');
    });
  }).toThrow();
  const end = sink(stream.source);
  expect(stream.flow.scopes.has(scope)).toBe(false);
  stream.prove();
  expect(end.verdict).toEqual({ outcome: 'complete' });
  await lastValueFrom(of(0));
});

describe('the head of an answer', () => {
  const headers = { 'x-ratelimit-remaining': '1' };

  it('is heard by those that draw from the flow, also through a decoder, and once by each', () => {
    const heard: string[] = [];
    const [above, below, beside] = ['above', 'below', 'beside'].map((name) => {
      const scope = new Scope(false);
      scope.onHead = (told) => heard.push(`${name} ${Object.keys(told).join()}`);
      return scope;
    });
    const call = new Flow();
    const request = new Flow();
    above?.adopt(request);
    const decoder = new Scope(true, call);
    decoder.adopt(request);
    below?.adopt(call);
    beside?.adopt(new Flow());
    request.onHeaders('id', headers);
    expect(heard.sort()).toStrictEqual(['above x-ratelimit-remaining', 'below x-ratelimit-remaining']);
    expect([request.requestIds, call.requestIds]).toStrictEqual([['id'], ['id']]);
  });

  it('may be without headers', () => {
    const scope = new Scope(false);
    const onHead = vi.fn();
    scope.onHead = onHead;
    const flow = new Flow();
    scope.adopt(flow);
    flow.onHeaders(undefined);
    expect(onHead.mock.calls).toStrictEqual([[{}]]);
  });
});
