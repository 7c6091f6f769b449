import type { Observable } from 'rxjs';
import type { Call } from '../protocol/call.js';
import type { WireEvent } from '../types.js';

// Under a global symbol: `millrace/testing` may come from another copy of the package.
const SCRIPT: unique symbol = Symbol.for('millrace.script');

/** A call whose frames come from an observable instead of a server. */
export interface ScriptedCall extends Call {
  readonly [SCRIPT]: Observable<WireEvent>;
}

/** Gives a call its frames. */
export function scripted(call: Call, frames: Observable<WireEvent>): ScriptedCall {
  return { ...call, [SCRIPT]: frames };
}

/** The frames of a scripted call; `undefined` for a real one. */
export function scriptOf(call: Call): Observable<WireEvent> | undefined {
  return (call as Partial<ScriptedCall>)[SCRIPT];
}
