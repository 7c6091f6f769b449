import { InvalidArgumentError } from 'commander';
import type { FinishReason } from '../index.js';
import { FINISH_REASONS } from '../internal/finishReasons.js';
import { MAX_DELAY_MS } from '../internal/require.js';

/** Readers of flags' values. Each throws InvalidArgumentError, whose sentence commander shows behind the value. */

export function wholeNumber(min: number): (value: string) => number {
  return (value) => {
    if (!/^\d{1,15}$/.test(value) || Number(value) < min) {
      throw new InvalidArgumentError(`It must be a whole number from ${String(min)} on.`);
    }
    return Number(value);
  };
}

export function port(value: string): number {
  if (!/^\d{1,5}$/.test(value) || Number(value) > 65_535) throw new InvalidArgumentError('It must be from 0 to 65535.');
  return Number(value);
}

export function temperature(value: string): number {
  if (!/^\d+(\.\d+)?$/.test(value)) throw new InvalidArgumentError('It must be a number from 0 on, such as 0.7.');
  return Number(value);
}

/** An amount of money, above zero. */
export function amount(value: string): number {
  if (!/^\d+(\.\d+)?$/.test(value) || Number(value) === 0) {
    throw new InvalidArgumentError('It must be a number above 0, such as 2.50.');
  }
  return Number(value);
}

const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;

/** Milliseconds; a bare number is in seconds. `none` is 0, which stands for no limit. */
export function duration(value: string): number {
  if (value === 'none') return 0;
  const [, digits = '', unit = 's'] = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(value) ?? [];
  // The expression lets no other unit through.
  const ms = Math.round(Number(digits) * UNITS[unit as keyof typeof UNITS]);
  if (digits === '' || ms < 1 || ms > MAX_DELAY_MS) {
    throw new InvalidArgumentError(
      'It must be a time such as 30s, 500ms, 2m or 30 (seconds), or none; at most 24 days.',
    );
  }
  return ms;
}

export function jsonObject(value: string): Readonly<Record<string, unknown>> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(value);
  } catch {
    throw new InvalidArgumentError('It must be a JSON object.'); // the value is quoted beside it
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw new InvalidArgumentError('It must be a JSON object.');
  }
  return { ...parsed };
}

/** Finish reasons, with commas between them. */
export function finishReasons(value: string): readonly FinishReason[] {
  const words = value.split(',').map((word) => word.trim());
  const reasons = FINISH_REASONS.filter((reason) => words.includes(reason));
  if (words.length !== new Set(words).size || reasons.length !== words.length) {
    throw new InvalidArgumentError(`It must be some of ${FINISH_REASONS.join(', ')}, with commas between them.`);
  }
  return reasons;
}
