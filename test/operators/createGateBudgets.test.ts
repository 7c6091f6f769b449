import fc from 'fast-check';
import { defer, lastValueFrom, NEVER, Observable, retry, throwError, timer, VirtualTimeScheduler } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { HTTPError } from '../../src/errors.js';
import { Flow, register } from '../../src/internal/flow.js';
import { createGate } from '../../src/operators/createGate.js';
import { decode } from '../../src/operators/decode.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import { chatDialect, polargrid } from '../../src/providers/index.js';
import { collect } from '../../src/sinks/collect.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { fromHTTP } from '../../src/sources/fromHTTP.js';
import { fakeCall, startProviderServer } from '../../src/testing/index.js';
import type { StreamEvent } from '../../src/types.js';
import { answered, left } from '../support/answered.js';
import { marbles } from '../support/marbles.js';

const idle = { running: 0, waiting: 0, closedForMs: 0 };

describe('a budget in an answer’s headers', () => {
  it(
    'lets no more streams begin than it is good for, and closes the key until its reset',
    marbles((m) => {
      const gate = createGate();
      const source = m.cold(' --a|');
      const first = answered(source, left(2, 10));
      m.expect(first.pipe(gate('k'))).toBeObservable(' --a|');
      const later = defer(() => source.pipe(gate('k')));
      m.expect(later, '---^').toBeObservable('         -----a|');
      m.expect(later, '---^').toBeObservable('         -----a|');
      m.expect(later, '---^').toBeObservable('         -------------a|'); // opens at 11
      m.expect(later, '----^').toBeObservable('        -------------a|');
      m.expect(source).toHaveSubscriptions(['^--!', '---^--!', '---^--!', '-----------^--!', '-----------^--!']);
    }),
  );

  it(
    'closes no other key',
    marbles((m) => {
      const gate = createGate();
      m.expect(answered(m.cold('--|'), left(0, 10)).pipe(gate('k'))).toBeObservable('--|');
      m.expect(
        defer(() => m.cold('a|').pipe(gate('other'))),
        '---^',
      ).toBeObservable('   ---a|');
    }),
  );

  it(
    'is less by the streams that were sent since and have no answer yet',
    marbles((m) => {
      const gate = createGate();
      const source = m.cold('-----|');
      m.expect(answered(source, left(3, 10)).pipe(gate('k'))).toBeObservable('-----|');
      m.expect(source.pipe(gate('k'))).toBeObservable('-----|');
      m.expect(source.pipe(gate('k'))).toBeObservable('-----|');
      const later = defer(() => m.cold('a|').pipe(gate('k')));
      m.expect(later, '--^').toBeObservable('--a|'); // the third
      m.expect(later, '--^').toBeObservable('-----------a|');
    }),
  );

  it(
    'is not less by streams that were sent before its time began, however long their answers take',
    marbles((m) => {
      const gate = createGate();
      const slow = m.cold('200ms |');
      const first = defer(() => answered(slow, left(3, 10, 3), 100).pipe(gate('k')));
      m.expect(first).toBeObservable('200ms |');
      // Unanswered, and sent after it: but nothing of them is counted any more.
      for (let i = 0; i < 9; i += 1) slow.pipe(gate('k')).subscribe();
      const later = defer(() => m.cold('a|').pipe(gate('k')));
      for (let i = 0; i < 3; i += 1) m.expect(later, '101ms ^').toBeObservable('101ms a|');
      for (let i = 0; i < 3; i += 1) m.expect(later, '101ms ^').toBeObservable('110ms a|'); // all of its limit again
    }),
  );

  it(
    'gives way to that of a later request, which may open the key before',
    marbles((m) => {
      const gate = createGate();
      const source = m.cold('-------|');
      m.expect(answered(source, left(1, 50), 1).pipe(gate('k'))).toBeObservable('-------|');
      m.expect(answered(source, left(7, 50), 3).pipe(gate('k'))).toBeObservable('-------|');
      const later = defer(() => m.cold('a|').pipe(gate('k')));
      m.expect(later, '--^').toBeObservable('---a|');
      m.expect(later, '--^').toBeObservable('---a|');
    }),
  );

  it(
    'is not raised by an answer to an earlier request that comes later',
    marbles((m) => {
      const gate = createGate();
      const source = m.cold('-------|');
      m.expect(answered(source, left(9, 20), 3).pipe(gate('k'))).toBeObservable('-------|');
      m.expect(answered(source, left(0, 10), 1).pipe(gate('k'))).toBeObservable('-------|');
      const later = defer(() => m.cold('a|').pipe(gate('k')));
      m.expect(later, '----^').toBeObservable('-----------a|');
    }),
  );

  it(
    'is lowered by an answer to an earlier request that comes later',
    marbles((m) => {
      const gate = createGate();
      const source = m.cold('-------|');
      m.expect(answered(source, left(1, 20), 3).pipe(gate('k'))).toBeObservable('-------|');
      m.expect(answered(source, left(2, 10), 1).pipe(gate('k'))).toBeObservable('-------|');
      const later = defer(() => m.cold('a|').pipe(gate('k')));
      m.expect(later, '----^').toBeObservable('----a|');
      m.expect(later, '----^').toBeObservable('-----------a|');
    }),
  );

  it(
    'is taken to be the whole limit again when its time is over, until an answer tells',
    marbles((m) => {
      const gate = createGate();
      const source = m.cold('-----|');
      m.expect(answered(source, left(0, 10, 2)).pipe(gate('k'))).toBeObservable('-----|');
      const later = (headers: Readonly<Record<string, string>>): Observable<string> =>
        defer(() => answered(m.cold<string>('a-|'), headers).pipe(gate('k')));
      m.expect(later(left(1, 10, 2)), '--^').toBeObservable('-----------a-|'); // 11
      m.expect(later(left(0, 10, 2)), '--^').toBeObservable('-----------a-|');
      // Both answers have come at 12; the second says until when.
      m.expect(later(left(1, 10, 2)), '--^').toBeObservable('----------------------a-|');
      m.expect(later(left(0, 10, 2)), '--^').toBeObservable('----------------------a-|');
      m.expect(later(left(1, 10, 2)), '--^').toBeObservable('---------------------------------a-|');
    }),
  );

  it(
    'is no more where later answers say nothing of it',
    marbles((m) => {
      const gate = createGate();
      m.expect(answered(m.cold('-----|'), left(0, 10, 1)).pipe(gate('k'))).toBeObservable('-----|');
      const later = defer(() => answered(m.cold('a----|'), {}, 2).pipe(gate('k')));
      m.expect(later, '--^').toBeObservable('-----------a----|');
      m.expect(later, '--^').toBeObservable('-------------a----|');
      m.expect(later, '--^').toBeObservable('-------------a----|');
    }),
  );

  it(
    'is no more where nobody is left who could tell of it',
    marbles((m) => {
      const gate = createGate();
      m.expect(answered(m.cold('-----|'), left(0, 10, 1)).pipe(gate('k'))).toBeObservable('-----|');
      const later = defer(() => m.cold('a----|').pipe(gate('k'))); // without a head
      m.expect(later, '--^').toBeObservable('-----------a----|');
      m.expect(later, '--^').toBeObservable('----------------a----|');
      m.expect(later, '--^').toBeObservable('----------------a----|');
    }),
  );

  it(
    'stops nobody for longer than a key may be closed, though nobody tells',
    marbles((m) => {
      const gate = createGate({ maxPauseMs: 20 });
      const silent = m.cold('a');
      m.expect(answered(m.cold('-----|'), left(0, 10, 1)).pipe(gate('k'))).toBeObservable('-----|');
      const later = defer(() => silent.pipe(gate('k')));
      m.expect(later, '--^').toBeObservable('-----------a');
      m.expect(later, '--^').toBeObservable('11ms 20ms a');
      m.expect(later, '--^').toBeObservable('11ms 20ms a');
    }),
  );

  it(
    'that is used up for long lets one stream see each time when a key must be open',
    marbles((m) => {
      const gate = createGate({ maxPauseMs: 10 });
      m.expect(answered(m.cold('--|'), left(0, 1_000, 50)).pipe(gate('k'))).toBeObservable('--|');
      const later = (headers: Readonly<Record<string, string>>): Observable<string> =>
        defer(() => answered(m.cold<string>('a-|'), headers).pipe(gate('k')));
      m.expect(later(left(0, 990, 50)), '--^').toBeObservable('11ms a-|');
      m.expect(later(left(3, 980, 50)), '--^').toBeObservable('22ms a-|');
      m.expect(later({}), '--^').toBeObservable('23ms a-|');
      m.expect(later({}), '--^').toBeObservable('23ms a-|');
    }),
  );

  it(
    'without a limit lets all begin when its time is over',
    marbles((m) => {
      const gate = createGate();
      m.expect(answered(m.cold('--|'), left(0, 10)).pipe(gate('k'))).toBeObservable('--|');
      const later = defer(() => m.cold('a|').pipe(gate('k')));
      m.expect(later, '--^').toBeObservable('-----------a|');
      m.expect(later, '--^').toBeObservable('-----------a|');
    }),
  );

  it(
    'counts beside another one: both must have room',
    marbles((m) => {
      const gate = createGate();
      const headers = {
        'x-ratelimit-remaining-requests-minute': '1',
        'x-ratelimit-reset-requests-minute': '10ms',
        'x-ratelimit-remaining-requests-day': '2',
        'x-ratelimit-reset-requests-day': '30ms',
      };
      m.expect(answered(m.cold('--|'), headers).pipe(gate('k'))).toBeObservable('--|');
      const later = defer(() => m.cold('a|').pipe(gate('k')));
      m.expect(later, '--^').toBeObservable('--a|');
      m.expect(later, '--^').toBeObservable('11ms a|');
      m.expect(later, '--^').toBeObservable('31ms a|');
    }),
  );

  it(
    'of a refused answer closes the key too, for the longer of both times',
    marbles((m) => {
      for (const [retryAfterMs, opensAt] of [
        [30, 31],
        [2, 21],
      ] as const) {
        const gate = createGate();
        const error = new HTTPError('HTTP 429', { status: 429, retryAfterMs });
        const refused = answered(m.cold('-#', undefined, error), left(0, 20));
        m.expect(refused.pipe(gate('k'))).toBeObservable('-#', undefined, error);
        m.expect(
          defer(() => m.cold('a|').pipe(gate('k'))),
          '--^',
        ).toBeObservable(`${String(opensAt)}ms a|`);
      }
    }),
  );

  it('is read from a refusal’s body where OpenRouter puts it', () => {
    const scheduler = new VirtualTimeScheduler();
    scheduler.frame = Date.UTC(2026, 0, 1);
    const gate = createGate({ scheduler });
    const headers = { 'X-RateLimit-Remaining': '0', 'X-RateLimit-Reset': String(scheduler.frame + 7_000) };
    const body = { error: { message: 'Rate limit exceeded: free-models-per-min', code: 429, metadata: { headers } } };
    throwError(() => new HTTPError('HTTP 429', { status: 429, body }))
      .pipe(gate('k'))
      .subscribe({ error: () => undefined });
    expect(gate.state('k').closedForMs).toBe(7_000);
  });

  it(
    'is not looked at where it is to be ignored',
    marbles((m) => {
      const gate = createGate({ budgets: 'ignore' });
      m.expect(answered(m.cold('--|'), left(0, 10)).pipe(gate('k'))).toBeObservable('--|');
      m.expect(
        defer(() => m.cold('a|').pipe(gate('k'))),
        '--^',
      ).toBeObservable('--a|');
    }),
  );

  it(
    'is heard by each of two gates, one above the other',
    marbles((m) => {
      const [one, all] = [createGate(), createGate()];
      m.expect(answered(m.cold('--|'), left(0, 10)).pipe(one('k'), all('all'))).toBeObservable('--|');
      m.expect(
        defer(() => m.cold('a|').pipe(one('k'))),
        '--^',
      ).toBeObservable('11ms a|');
      m.expect(
        defer(() => m.cold('a|').pipe(all('all'))),
        '--^',
      ).toBeObservable('11ms a|');
    }),
  );

  it(
    'is remembered until its reset, though nobody runs or waits, and forgotten after',
    marbles((m) => {
      const gate = createGate();
      m.expect(answered(m.cold('--|'), left(1, 10)).pipe(gate('k'))).toBeObservable('--|');
      const later = defer(() => m.cold('a|').pipe(gate('k')));
      m.expect(later, '-----^').toBeObservable('-----a|');
      m.expect(later, '-----^').toBeObservable('11ms a|');
      m.scheduler.schedule(() => {
        expect(gate.state('k')).toStrictEqual(idle);
      }, 20);
    }),
  );

  it(
    'is not heard any more of a stream that has ended, such as of a request that only creates work',
    marbles((m) => {
      const gate = createGate();
      let flow: Flow | undefined;
      const source = new Observable<string>((subscriber) => {
        flow = new Flow();
        register(flow);
        subscriber.complete();
      });
      source.pipe(gate('k')).subscribe();
      NEVER.pipe(gate('k')).subscribe();
      flow?.onHeaders(undefined, left(0, 10));
      m.flush();
      expect(gate.state('k')).toStrictEqual({ ...idle, running: 1 });
    }),
  );
});

const finish: StreamEvent = { type: 'finish', reason: 'stop' };

/** A stream that says what it used. */
function used(inputTokens: number, outputTokens: number): Observable<StreamEvent> {
  return fromCall(fakeCall([{ type: 'usage', inputTokens, outputTokens, provenance: 'reported' }, finish]));
}

describe('tokens that are left', () => {
  const tokens = (remaining: number, unit = 'tokens'): Readonly<Record<string, string>> => ({
    [`x-ratelimit-remaining-${unit}`]: String(remaining),
    [`x-ratelimit-reset-${unit}`]: '50ms',
  });

  it.each<[string, Readonly<Record<string, string>>, number]>([
    ['none', tokens(0), 0],
    ['less than a stream uses', tokens(119), 0],
    ['as many as three streams use', tokens(360), 3],
    ['of the input', tokens(200, 'input-tokens'), 2],
    ['of the output', tokens(100, 'output-tokens'), 5],
  ])('are counted in streams by what the last ones used: %s', (_, headers, expected) => {
    marbles((m) => {
      const gate = createGate();
      answered(NEVER, headers).pipe(gate('k')).subscribe();
      // 100 in and 20 out on average.
      used(50, 10).pipe(gate('k')).subscribe();
      used(150, 30).pipe(gate('k')).subscribe();
      expect(gate.state('k')).toStrictEqual({ ...idle, running: 1 });
      let begun = 0;
      const stream = defer(() => {
        begun += 1;
        return NEVER;
      });
      m.scheduler.schedule(() => {
        for (let i = 0; i < 10; i += 1) stream.pipe(gate('k')).subscribe();
        expect(begun).toBe(expected);
      }, 2);
      m.scheduler.schedule(() => {
        expect(begun).toBe(10);
      }, 52);
    })();
  });

  it(
    'close the key at none left, though nobody knows what a stream uses, and not before',
    marbles((m) => {
      const [none, one] = [createGate(), createGate()];
      m.expect(answered(m.cold('--|'), tokens(0)).pipe(none('k'))).toBeObservable('--|');
      m.expect(answered(m.cold('--|'), tokens(1)).pipe(one('k'))).toBeObservable('--|');
      m.expect(
        defer(() => m.cold('a|').pipe(none('k'))),
        '--^',
      ).toBeObservable('51ms a|');
      m.expect(
        defer(() => m.cold('a|').pipe(one('k'))),
        '--^',
      ).toBeObservable('--a|');
    }),
  );
});

describe('a server that tells its budget', () => {
  /** Counts requests by the window, refuses what is over, and tells its headers when it answers. */
  class Server {
    readonly #limit: number;
    readonly #windowMs: number;
    readonly #scheduler: VirtualTimeScheduler;
    #windowEnd = 0;
    #used = 0;
    refused = 0;

    constructor(limit: number, windowMs: number, scheduler: VirtualTimeScheduler) {
      this.#limit = limit;
      this.#windowMs = windowMs;
      this.#scheduler = scheduler;
    }

    request(headMs: number, bodyMs: number): Observable<string> {
      return new Observable<string>((subscriber) => {
        const flow = new Flow();
        register(flow);
        subscriber.add(() => flow.leave());
        const now = this.#scheduler.now();
        if (now >= this.#windowEnd) {
          this.#windowEnd = now + this.#windowMs;
          this.#used = 0;
        }
        this.#used += 1;
        const isRefused = this.#used > this.#limit;
        const remaining = Math.max(0, this.#limit - this.#used);
        const windowEnd = this.#windowEnd;
        subscriber.add(
          this.#scheduler.schedule(() => {
            flow.onHeaders(undefined, left(remaining, windowEnd - this.#scheduler.now(), this.#limit));
            if (!isRefused) return;
            this.refused += 1;
            subscriber.error(new HTTPError('HTTP 429', { status: 429 }));
          }, headMs),
        );
        if (isRefused) return;
        subscriber.add(
          this.#scheduler.schedule(() => {
            subscriber.next('answer');
            subscriber.complete();
          }, headMs + bodyMs),
        );
      });
    }
  }

  it('refuses none after the first that were sent together, and every stream comes through', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 1, max: 12 }),
        fc.array(fc.record({ headMs: fc.integer({ min: 1, max: 30 }), bodyMs: fc.integer({ min: 0, max: 200 }) }), {
          minLength: 1,
          maxLength: 60,
        }),
        (limit, concurrency, streams) => {
          const scheduler = new VirtualTimeScheduler(undefined, Infinity);
          const server = new Server(limit, 1_000, scheduler);
          const gate = createGate({ concurrency, scheduler, pauseMs: 10, maxPauseMs: 5_000 });
          let done = 0;
          for (const { headMs, bodyMs } of streams) {
            defer(() => server.request(headMs, bodyMs))
              .pipe(gate('k'), retry({ delay: () => timer(0, scheduler) }))
              .subscribe({ complete: () => (done += 1) });
          }
          scheduler.flush();
          expect(done).toBe(streams.length);
          expect(server.refused).toBeLessThanOrEqual(Math.max(0, concurrency - limit));
          expect(scheduler.frame).toBeLessThanOrEqual((streams.length / limit + 2) * 1_000 + 30 * 230);
          expect(gate.state('k')).toMatchObject({ running: 0, waiting: 0 });
        },
      ),
    );
  });

  it('is heard over a socket, by the events of a call and by those of a plain request', async () => {
    const server = await startProviderServer();
    onTestFinished(() => server.close());
    const gate = createGate();
    const api = polargrid({ apiKey: 'any', baseURL: server.baseURLs.polargrid });
    const headers = { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': '30' };
    server.next({ headers });
    await collect(
      fromCall(api.chat({ model: 'm', messages: [{ role: 'user', content: 'Hello' }] })).pipe(gate('call')),
    );
    server.next({ headers });
    const request = fromHTTP(`${server.baseURLs.polargrid}/chat/completions`, {
      method: 'POST',
      headers: { authorization: 'Bearer any', 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'm', stream: true, messages: [{ role: 'user', content: 'Hello' }] }),
    });
    await lastValueFrom(request.pipe(gate('request'), parseSSE(), decode(chatDialect())));
    for (const key of ['call', 'request']) {
      expect(gate.state(key).closedForMs).toBeGreaterThan(20_000);
    }
    // Refused for another reason: its headers count as well.
    server.next({ status: 500, headers });
    await expect(
      collect(fromCall(api.chat({ model: 'm', messages: [{ role: 'user', content: 'Hi' }] })).pipe(gate('failed'))),
    ).rejects.toThrow(HTTPError);
    expect(gate.state('failed').closedForMs).toBeGreaterThan(20_000);
  });
});
