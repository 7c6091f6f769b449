/** What a check found, in words for a person and as facts for a program. No key stands in either. */
export interface Check {
  /** What was looked at: `this machine`, a provider's name, a URL. */
  readonly of: string;
  readonly name: string;
  readonly verdict: 'ok' | 'warning' | 'broken';
  readonly says: string;
  /** What to do about it. */
  readonly advice?: string;
  readonly facts?: Readonly<Record<string, string | number | boolean | undefined>>;
}

/** Milliseconds in words. */
export function inMs(ms: number): string {
  return ms < 1000 ? `${String(Math.round(ms))} ms` : `${(ms / 1000).toFixed(1)} s`;
}
