import { concat, defer, lastValueFrom, of, Subject, take, throwError, toArray } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { InterruptedError, isMillraceError, ProviderError } from '../../src/errors.js';
import { tapReceipt } from '../../src/operators/tapReceipt.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { fakeCall } from '../../src/testing/fakeCall.js';
import type { Receipt, StreamEvent } from '../../src/types.js';
import { marbles } from '../support/marbles.js';

function text(piece: string): StreamEvent {
  return { type: 'text', text: piece, index: 0, name: 'output' };
}

const events: Record<string, StreamEvent> = {
  a: text('A'),
  b: text('B'),
  c: { type: 'raw', frame: { odd: Number.NaN } },
  f: { type: 'finish', reason: 'stop' },
};

const unproven = new InterruptedError(
  'The fake stream ended before its proven end; what was received is in `received` and may be cut anywhere',
  { context: { dialect: 'fake' } },
);

describe('fakeCall', () => {
  it(
    'makes a call whose answer is these events, as they are',
    marbles((m) => {
      const source = m.cold(' --a-b-c-(f|)', events);
      const subs = '          ^-------!   ';
      const expected = '      --a-b-c-(f|)';
      m.expect(fromCall(fakeCall(source))).toBeObservable(expected, events);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'is over at finish, whatever follows',
    marbles((m) => {
      const source = m.cold(' -a-f-b-#   ', events);
      const subs = '          ^--!       ';
      const expected = '      -a-(f|)    ';
      m.expect(fromCall(fakeCall(source))).toBeObservable(expected, events);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'is interrupted where there is no finish',
    marbles((m) => {
      const source = m.cold(' -a-b-|', events);
      const subs = '          ^----!';
      const expected = '      -a-b-#';
      m.expect(fromCall(fakeCall(source))).toBeObservable(expected, events, unproven);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'fails as its events do',
    marbles((m) => {
      const failed = new ProviderError('busy', { retryable: true });
      const source = m.cold(' -a-#', events, failed);
      const subs = '          ^--!';
      const expected = '      -a-#';
      m.expect(fromCall(fakeCall(source))).toBeObservable(expected, events, failed);
      m.expect(source).toHaveSubscriptions(subs);
    }),
  );

  it(
    'asks for its events once a subscription, and leaves them with it',
    marbles((m) => {
      const source = m.cold('   -a-b-f|   ', events);
      const first = '           -a-b-(f|) ';
      const second = '          ---a-     ';
      const answer = fromCall(fakeCall(source));
      m.expect(answer).toBeObservable(first, events);
      m.expect(answer, '        --^-!     ').toBeObservable(second, events);
      m.expect(source).toHaveSubscriptions(['^----!', '--^-!']);
    }),
  );

  it('asks for nothing before it is subscribed to', async () => {
    let asked = 0;
    const call = fakeCall(
      defer(() => {
        asked += 1;
        return of(text('A'), { type: 'finish', reason: 'stop' } as const);
      }),
    );
    const answer = fromCall(call);
    expect(asked).toBe(0);
    expect(await lastValueFrom(answer.pipe(toArray()))).toHaveLength(2);
    expect(asked).toBe(1);
  });

  it('takes an array, again and again', async () => {
    const answer = fromCall(fakeCall([text('A'), { type: 'finish', reason: 'stop' }]));
    for (let time = 0; time < 2; time += 1) {
      expect(await lastValueFrom(answer.pipe(toArray()))).toStrictEqual([
        text('A'),
        { type: 'finish', reason: 'stop' },
      ]);
    }
  });

  it('takes a promise of an event', async () => {
    const answer = fromCall(fakeCall(Promise.resolve<StreamEvent>({ type: 'finish', reason: 'length' })));
    expect(await lastValueFrom(answer)).toStrictEqual({ type: 'finish', reason: 'length' });
  });

  it('gives errors what was received', async () => {
    const failed = new ProviderError('busy', { retryable: true });
    const events = concat(
      of(text('so '), text('far')),
      throwError(() => failed),
    );
    const error: unknown = await lastValueFrom(fromCall(fakeCall(events))).catch((reason: unknown) => reason);
    expect(error).toBe(failed);
    expect(isMillraceError(error) && error.received).toStrictEqual({ text: 'so far', chars: 6, truncated: false });
  });

  it('has a receipt as a real one has', async () => {
    const receipts: Receipt[] = [];
    const answer = fromCall(
      fakeCall([text('A'), { type: 'finish', reason: 'stop' }], { provider: 'acme', model: 'm-1' }),
    );
    await lastValueFrom(answer.pipe(tapReceipt((receipt) => receipts.push(receipt))));
    expect(receipts).toMatchObject([
      {
        provider: 'acme',
        model: 'm-1',
        outcome: 'complete',
        finish: { reason: 'stop' },
        attempts: 1,
        billing: 'ended',
      },
    ]);
  });

  it('is called fake where it has no name, and is not complete for one who leaves early', () => {
    const receipts: Receipt[] = [];
    const source = new Subject<StreamEvent>();
    fromCall(fakeCall(source))
      .pipe(
        take(1),
        tapReceipt((receipt) => receipts.push(receipt)),
      )
      .subscribe();
    source.next(text('A'));
    expect(receipts).toMatchObject([{ provider: 'fake', outcome: 'interrupted', chars: 1 }]);
    expect(receipts[0]).not.toHaveProperty('model');
    expect(source.observed).toBe(false);
  });

  it('stops by its signal, as a real one does', () => {
    const controller = new AbortController();
    const ended: unknown[] = [];
    const source = new Subject<StreamEvent>();
    fromCall(fakeCall(source), { signal: controller.signal }).subscribe({
      error: (error: unknown) => ended.push(error),
    });
    source.next(text('half'));
    controller.abort();
    expect(ended).toMatchObject([{ code: 'ERR_ABORTED', received: { text: 'half' } }]);
    expect(source.observed).toBe(false);
  });
});
