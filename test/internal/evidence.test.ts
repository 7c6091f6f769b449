import { Observable } from 'rxjs';
import { describe, expect, it } from 'vitest';
import {
  AbortError,
  HTTPError,
  InterruptedError,
  ProtocolError,
  ProviderError,
  StreamTimeoutError,
} from '../../src/errors.js';
import { type Ending, Evidence, type Verdict } from '../../src/internal/evidence.js';
import { Flow, type FlowFacts, leaveAs, register, subscribeWithin, tearDownWithin } from '../../src/internal/flow.js';
import { draw, operate } from '../../src/internal/operate.js';
import type { Receipt, StoppedBy, StreamEvent, Usage, WarningEvent } from '../../src/types.js';

const complete: Ending = { kind: 'complete' };
const left: Ending = { kind: 'left' };
const written = { where: 'none', chars: 0, bytes: 0 };

/** A sink that draws from flows of these facts, all of them open. */
function drawing(...facts: FlowFacts[]): { readonly evidence: Evidence; readonly flows: Flow[] } {
  const evidence = new Evidence('sink');
  const flows = facts.map((fact) => new Flow(fact));
  subscribeWithin(evidence.scope, () => {
    flows.forEach(register);
  });
  return { evidence, flows };
}

/** One flow that has ended as said. */
function drawn(end: (flow: Flow) => void, facts: FlowFacts = {}): Evidence {
  const { evidence, flows } = drawing(facts);
  flows.forEach((flow) => {
    tearDownWithin(evidence.scope, () => {
      end(flow);
    });
  });
  return evidence;
}

function prove(flow: Flow): void {
  flow.proven = true;
  flow.end('complete');
}

function receipt(evidence: Evidence, ending: Ending): Receipt {
  return evidence.receipt(evidence.judge(ending), written);
}

describe('the verdict on a completion', () => {
  it('is complete where there is no flow', () => {
    expect(new Evidence('sink').judge(complete)).toStrictEqual({ outcome: 'complete' });
  });

  it('is complete where the flow was proven', () => {
    expect(drawn(prove).judge(complete)).toStrictEqual({ outcome: 'complete' });
  });

  it.each<[string, (flow: Flow) => void]>([
    [
      'completed without proof',
      (flow) => {
        flow.end('complete');
      },
    ],
    [
      'failed behind a catchError',
      (flow) => {
        flow.end('error');
      },
    ],
    ['was left by a takeUntil', (flow) => flow.leave()],
  ])('is interrupted where the flow %s', (_, end) => {
    const verdict = drawn(end, { provider: 'acme' }).judge(complete);
    expect(verdict.outcome).toBe('interrupted');
    expect(verdict.error).toBeInstanceOf(InterruptedError);
    expect((verdict.error as Error).message).toContain('acme');
    expect((verdict.error as Error).message).toContain('stopOn');
  });

  it('is interrupted where a flow that delivered is still open, as one that is shared', () => {
    const { evidence, flows } = drawing({});
    flows[0]?.deliver(() => {
      evidence.note('half');
    });
    expect(evidence.judge(complete).outcome).toBe('interrupted');
  });

  it('is complete where a flow was only subscribed beside the stream, and goes on', () => {
    expect(drawing({}).evidence.judge(complete)).toEqual({ outcome: 'complete' });
  });

  it('is interrupted where one of two was not proven after it had brought content', () => {
    const { evidence, flows } = drawing({}, {});
    const [good, bad] = flows;
    if (good !== undefined) prove(good);
    bad?.onContent(1);
    bad?.end('error');
    expect(evidence.judge(complete).outcome).toBe('interrupted');
  });

  it('is complete where an attempt failed before any content and another was proven', () => {
    const { evidence, flows } = drawing({}, {});
    const [bad, good] = flows;
    bad?.end('error');
    if (good !== undefined) prove(good);
    expect(evidence.judge(complete)).toStrictEqual({ outcome: 'complete' });
  });

  it('does not ask flows that were ended on purpose', () => {
    const { evidence, flows } = drawing({}, {});
    const [loser, winner] = flows;
    loser?.onContent(1);
    if (loser !== undefined) loser.excused = true;
    loser?.leave();
    if (winner !== undefined) prove(winner);
    expect(evidence.judge(complete)).toStrictEqual({ outcome: 'complete' });
  });

  it.each<StoppedBy>(['signal', 'notifier', 'reader'])('is stopped where the flow was left by %s', (by) => {
    const evidence = drawn((flow) => {
      leaveAs('stop', by, () => flow.leave());
    });
    expect(evidence.judge(complete)).toStrictEqual({ outcome: 'stopped', by });
  });
});

describe('the verdict on an error', () => {
  it.each<[string, unknown, Verdict['outcome']]>([
    ['an interruption', new InterruptedError('m'), 'interrupted'],
    ['a timeout', new StreamTimeoutError('wireIdle', 'm'), 'interrupted'],
    ['a refusal', new HTTPError('m', { status: 500 }), 'failed'],
    ['a provider’s failure', new ProviderError('m', { retryable: true }), 'failed'],
    ['a malformed frame', new ProtocolError('m'), 'failed'],
    ['any other error', new RangeError('m'), 'failed'],
    ['a word', 'm', 'failed'],
    ['nothing', undefined, 'failed'],
  ])('that is %s has it as its error', (_, error, outcome) => {
    expect(new Evidence('sink').judge({ kind: 'error', error })).toStrictEqual({ outcome, error });
  });

  it('that is a stop by signal is stopped', () => {
    const error = new AbortError('m');
    expect(new Evidence('sink').judge({ kind: 'error', error })).toStrictEqual({
      outcome: 'stopped',
      by: 'signal',
      error,
    });
  });
});

describe('the verdict on a reader that left', () => {
  it('is stopped by unsubscribe', () => {
    expect(new Evidence('sink').judge(left)).toStrictEqual({ outcome: 'stopped', by: 'unsubscribe' });
    expect(drawn((flow) => flow.leave()).judge(left)).toStrictEqual({ outcome: 'stopped', by: 'unsubscribe' });
  });
});

describe('a receipt', () => {
  const warning: WarningEvent = { type: 'warning', code: 'provider-warning', message: 'slow' };
  const usage: Usage = { inputTokens: 3, provenance: 'reported' };

  it('adds up what several flows say', () => {
    const { evidence, flows } = drawing({ provider: 'one', model: 'm-1' }, { provider: 'two' });
    flows.forEach((flow, at) => {
      flow.onHeaders(`r-${String(at)}`);
      flow.usage = usage;
      flow.warnings.push(warning);
      flow.restarts = 1;
      flow.finish = { type: 'finish', reason: at === 0 ? 'length' : 'stop' };
      prove(flow);
    });
    expect(receipt(evidence, complete)).toMatchObject({
      provider: 'two',
      outcome: 'complete',
      finish: { reason: 'stop' },
      usage: { inputTokens: 6, provenance: 'reported' },
      attempts: 2,
      restarts: 2,
      warnings: [warning, warning],
      requestIds: ['r-0', 'r-1'],
      billing: 'ended',
    });
  });

  it('lists no more than a hundred warnings and request ids', () => {
    const { evidence, flows } = drawing({});
    for (const flow of flows) {
      for (let at = 0; at < 150; at += 1) {
        flow.onHeaders(String(at));
        flow.warnings.push(warning);
      }
      prove(flow);
    }
    const { warnings, requestIds } = receipt(evidence, complete);
    expect(warnings).toHaveLength(100);
    expect(requestIds).toHaveLength(100);
  });

  it('takes what was reported before a cut for a part', () => {
    const evidence = drawn((flow) => {
      flow.usage = usage;
      flow.end('error');
    });
    const error = new InterruptedError('cut');
    expect(receipt(evidence, { kind: 'error', error }).usage).toStrictEqual({ inputTokens: 3, provenance: 'partial' });
  });

  it('has only keys that say something', () => {
    const keys = Object.keys(receipt(new Evidence('sink'), complete));
    expect(keys).not.toContain('key');
    expect(keys).not.toContain('error');
    expect(keys).not.toContain('by');
    expect(keys).not.toContain('finish');
  });

  it('names the stream where it has a name', () => {
    const evidence = new Evidence('sink');
    expect(evidence.receipt({ outcome: 'complete' }, { ...written, key: 'a' })).toMatchObject({ key: 'a' });
  });

  it('hears from the events where there is no flow, and the last usage counts', () => {
    const evidence = new Evidence('sink');
    const events: StreamEvent[] = [
      { type: 'usage', inputTokens: 1, provenance: 'reported' },
      warning,
      { type: 'restart', attempt: 2, because: 'lost', discard: { chars: 0 } },
      { type: 'usage', inputTokens: 2, provenance: 'reported' },
      { type: 'finish', reason: 'length', rawReason: 'max_tokens' },
    ];
    for (const event of events) evidence.note(event);
    expect(receipt(evidence, complete)).toMatchObject({
      usage: { inputTokens: 2, provenance: 'reported' },
      warnings: [warning],
      restarts: 1,
      finish: { reason: 'length', rawReason: 'max_tokens' },
      attempts: 0,
    });
  });

  it.each<[string, Ending, Receipt['billing']]>([
    ['a refused request has ended', { kind: 'error', error: new HTTPError('m', { status: 500 }) }, 'ended'],
    ['a final failure has ended', { kind: 'error', error: new ProviderError('m', { retryable: false }) }, 'ended'],
    [
      'a failure that may be requeued goes on',
      { kind: 'error', error: new ProviderError('m', { retryable: true }) },
      'continues',
    ],
    ['a cut stream goes on', { kind: 'error', error: new InterruptedError('m') }, 'continues'],
  ])('says of the bill that %s', (_, ending, billing) => {
    const evidence = drawn(
      (flow) => {
        flow.end('error');
      },
      {
        billing: (verb) => (verb === 'stop' ? 'ended' : 'continues'),
      },
    );
    expect(receipt(evidence, ending).billing).toBe(billing);
  });

  it('does not know the bill of what has no flow', () => {
    expect(receipt(new Evidence('sink'), { kind: 'error', error: new InterruptedError('m') }).billing).toBe('unknown');
  });
});

describe('a sink’s receipt', () => {
  /** Subscribes a reader that waits for receipts, and a sink above it; returns what the reader heard. */
  function heard(makeSink: () => Evidence): {
    readonly receipts: Receipt[];
    readonly expects: () => boolean;
    sink: Evidence;
  } {
    const reader = new Evidence('observer');
    const receipts: Receipt[] = [];
    reader.scope.onReceipt = (one): void => {
      receipts.push(one);
    };
    let sink: Evidence | undefined;
    subscribeWithin(reader.scope, () => {
      sink = makeSink();
    });
    if (sink === undefined) throw new Error('no sink was made');
    return { receipts, expects: () => reader.scope.expectsReceipts, sink };
  }

  it('is announced to the readers below, and told to them', () => {
    const { receipts, expects, sink } = heard(() => new Evidence('sink'));
    expect(expects()).toBe(true);
    const told = receipt(sink, complete);
    sink.report(told);
    expect(receipts).toStrictEqual([told]);
  });

  it('is not announced by an observer', () => {
    expect(heard(() => new Evidence('observer')).expects()).toBe(false);
  });

  it('is told past an observer in between', () => {
    const { receipts, sink } = heard(() => {
      const between = new Evidence('observer');
      let above: Evidence | undefined;
      subscribeWithin(between.scope, () => {
        above = new Evidence('sink');
      });
      return above ?? between;
    });
    sink.report(receipt(sink, complete));
    expect(receipts).toHaveLength(1);
  });

  it('is told to readers that a late sink meets only when they leave', () => {
    const receipts: Receipt[] = [];
    const late = new Evidence('sink');
    const inner = new Observable<never>((subscriber) => {
      draw<string>(new Observable(), subscriber, late.scope, () => ({
        next: () => undefined,
        left: () => {
          late.report(receipt(late, left));
        },
      }));
    });
    const subscription = new Observable<string>((subscriber) => {
      // As a mergeMap does after an asynchronous step: nothing on the stack tells who reads.
      subscribeWithin(undefined, () => {
        subscriber.add(inner.subscribe());
      });
    })
      .pipe(
        operate<string, string>((source, subscriber) => {
          const reader = new Evidence('observer');
          reader.scope.onReceipt = (one): void => {
            receipts.push(one);
          };
          draw<string>(source, subscriber, reader.scope, () => ({ next: () => undefined }));
        }),
      )
      .subscribe();
    subscription.unsubscribe();
    expect(receipts).toMatchObject([{ outcome: 'stopped', by: 'unsubscribe' }]);
  });
});
