import type { Observable, Subscriber } from 'rxjs';
import { AbortError, InterruptedError, MillraceError } from '../errors.js';
import type { Dialect, Proof } from '../protocol/dialect.js';
import type { StreamEvent, WarningEvent, WireEvent } from '../types.js';
import { Answer, type DecodeOptions } from './answer.js';
import { tellAttempt } from './diagnostics.js';
import { endDelivery, type Flow, leaveAs, register, Scope } from './flow.js';
import { isCut } from './hasCode.js';
import { draw } from './operate.js';
import type { Going } from './position.js';
import { type SentSecrets, secretsOf } from './sentSecrets.js';

/** What is being decoded, and where its frames come from. */
export interface Decoding {
  readonly dialect: Dialect;
  /** The answer's own flow; opened before, see {@link openFlow}. */
  readonly flow: Flow;
  readonly options: DecodeOptions;
  /** @defaultValue `'first'` */
  readonly going?: Going;
  /** Makes the source of frames. Flows that are subscribed in the name of `scope` are this answer's. */
  readonly source: (scope: Scope, answer: Answer) => Observable<WireEvent>;
  /** Adds to an error what only the caller knows. */
  readonly explain?: (error: unknown) => unknown;
  /** This connection has told what it can: what is stored is to be read, or the stream to be opened once more. */
  readonly goOn?: (proof: 'ended' | 'reopen') => void;
}

/** Ties an answer's flow to its subscriber. It is known to the readers below from here on, and left with the subscriber. */
export function openFlow(flow: Flow, subscriber: Subscriber<StreamEvent>): Flow {
  // Before subscribing: the source may finish at once.
  subscriber.add(() => flow.leave());
  register(flow);
  return flow;
}

/**
 * Decodes frames into a subscriber: what `decode` and `fromCall` share. The subscriber completes only on a proven end; then
 * the source is left with its connection worth keeping. After the proof a cut takes nothing away.
 */
export function connectDecoder(subscriber: Subscriber<StreamEvent>, decoding: Decoding): void {
  const { dialect, flow, options, going = 'first', explain, goOn } = decoding;
  const answer = new Answer(dialect, flow, going, options, (event) => {
    subscriber.next(event.type === 'warning' ? cleaned(event) : event);
  });
  const scope = new Scope(true, flow);
  // A call has told of itself.
  if (flow.facts.call === undefined && !flow.isLate) tellAttempt(flow, { attempt: 1 });
  /** What was sent for this answer: some servers quote the key that they refuse, inside a stream too. */
  let secrets: SentSecrets | undefined;
  scope.onFlow = (request): void => {
    const sent = secretsOf(request);
    if (sent !== undefined) secrets = secrets?.and(sent) ?? sent;
  };

  /** Receipts list warnings, in the server's words. */
  const cleaned = (warning: WarningEvent): WarningEvent => {
    const clean = secrets?.cleanWarning(warning) ?? warning;
    if (flow.warnings.at(-1) === warning) flow.warnings.splice(-1, 1, clean);
    return clean;
  };

  const fail = (reason: unknown): void => {
    let error = reason;
    try {
      answer.release();
    } catch (thrown) {
      error = thrown; // as where a dialect throws at the end
    }
    flow.proven = false;
    const explained = explain === undefined ? error : explain(error);
    const isOurs = explained instanceof MillraceError && !(explained instanceof AbortError);
    const clean = isOurs && secrets !== undefined ? secrets.cleanError(explained) : explained;
    flow.end('error', clean);
    subscriber.error(answer.attach(clean));
  };

  draw<WireEvent>(decoding.source(scope, answer), subscriber, scope, (upstream) => {
    const complete = (): void => {
      leaveAs(
        'drain',
        'unsubscribe',
        () => {
          upstream.unsubscribe();
        },
        scope,
      );
      flow.end('complete');
      subscriber.complete();
    };
    const settle = (intact: boolean, otherwise: () => unknown): void => {
      flow.deliver(() => {
        let isWhole: boolean;
        try {
          isWhole = answer.end(intact);
        } catch (error) {
          fail(error);
          return;
        }
        if (isWhole) complete();
        else fail(otherwise());
      });
    };
    // A subscriber may feed or end a Subject above from inside `next`: the frame in hand is finished first.
    let isDecoding = false;
    let waiting: WireEvent[] = [];
    let end: (() => void) | undefined;
    let lastProof: Proof = 'open';
    const endWith = (run: () => void): void => {
      if (isDecoding) end = run;
      else run();
    };
    subscriber.add(() => {
      waiting = [];
      end = undefined;
    });
    flow.conclude = (): boolean => {
      if (lastProof !== 'proven') return false;
      endWith(() => {
        settle(false, () => unproven(dialect.name));
      });
      return true;
    };
    return {
      next: (event) => {
        if (isDecoding) {
          waiting.push(ownEvent(event));
          return;
        }
        scope.current();
        if (event.type === 'event') flow.position.lastEventId = event.id;
        else if (event.type === 'retry') flow.position.retryMs = event.retryMs;
        const previous = flow.beginDelivery();
        isDecoding = true;
        try {
          let proof = answer.push(event);
          // Seldom any, and to look at the length costs less than to take none.
          while (waiting.length > 0 && isOpen(proof)) {
            const next = waiting.shift();
            if (next !== undefined) proof = answer.push(next);
          }
          lastProof = proof;
          if (proof === 'done') complete();
          else if (proof === 'ended' || proof === 'reopen') goOn?.(proof);
        } catch (error) {
          fail(error);
        } finally {
          isDecoding = false;
          endDelivery(previous);
        }
        end?.();
      },
      error: (error) => {
        endWith(() => {
          if (isCut(error)) settle(false, () => error);
          else {
            flow.deliver(() => {
              fail(error);
            });
          }
        });
      },
      complete: () => {
        const intact = scope.current()?.proven ?? true;
        endWith(() => {
          settle(intact, () => unproven(dialect.name));
        });
      },
    };
  });
}

/** One that can be kept: what is known by sight is told in one object, good until the next. */
function ownEvent(event: WireEvent): WireEvent {
  return (event as Partial<Copied> & WireEvent).copy?.() ?? event; // see `MatchedEvent`
}

interface Copied {
  copy(): WireEvent;
}

function isOpen(proof: Proof): boolean {
  return proof === 'open' || proof === 'proven';
}

/** The error of a body that ended, cleanly to all appearance, before its answer was whole. */
function unproven(name: string): InterruptedError {
  return new InterruptedError(
    `The ${name} stream ended before its proven end; what was received is in \`received\` and may be cut anywhere`,
    { context: { dialect: name } },
  );
}
