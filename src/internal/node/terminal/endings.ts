import type { Billing, Outcome, Receipt, StoppedBy, Usage } from '../../../types.js';
import { truncateText, widthOf, wrapText } from '../../textWidth.js';
import { counted, duration } from './measures.js';
import type { Paints } from './paints.js';
import { oneLine } from './screenText.js';
import type { StreamRow } from './streamRow.js';

/** How a stream ended. */
export interface RowEnding {
  readonly outcome: Outcome;
  readonly finish?: string | undefined;
  readonly by?: StoppedBy | undefined;
  readonly message?: string | undefined;
  readonly usage?: Usage | undefined;
  readonly billing?: Billing | undefined;
  readonly attempts?: number | undefined;
  /** What its receipt says, where that is another thing than what this row has seen. */
  readonly chars?: number | undefined;
  readonly firstMs?: number | undefined;
  readonly totalMs?: number | undefined;
  /** Where what came is. */
  readonly place?: string | undefined;
}

export const MARKS: Readonly<Record<Outcome, string>> = { complete: '✓', failed: '✗', interrupted: '✂', stopped: '■' };

/** What a receipt tells of a stream of its own. */
export function endingOf({ outcome, finish, by, error, usage, billing, attempts }: Receipt): RowEnding {
  return { outcome, finish: finish?.reason, by, message: error?.message, usage, billing, attempts };
}

/** The outcome in words: with why, where that is not how it should be. */
export function outcomeWords({ outcome, finish = 'stop', by }: RowEnding): string {
  if (outcome === 'complete') return finish === 'stop' || finish === 'unknown' ? outcome : `${outcome} (${finish})`;
  return outcome === 'stopped' && by !== undefined && by !== 'unsubscribe' ? `${outcome} by ${by}` : outcome;
}

/** What there is to tell of the end, the most telling first. */
export function endFacts(row: StreamRow, ending: RowEnding, elapsedMs: number): readonly string[] {
  const { outcome, usage, billing, attempts = 1, place } = ending;
  const { chars = row.chars, firstMs = row.firstMs, totalMs = elapsedMs } = ending;
  const { outputTokens, totalTokens, cost, provenance } = usage ?? {};
  const tokens = outputTokens ?? totalTokens;
  const soFar = provenance === 'partial' ? ' so far' : '';
  const facts = [
    duration(totalMs),
    outcome !== 'complete' && billing === 'continues' && 'billing continues',
    chars > 0 && counted(chars, 'char'),
    tokens !== undefined && `${counted(tokens, 'token')}${soFar}`,
    cost?.total !== undefined &&
      `${String(Number(cost.total.toPrecision(3)))} ${oneLine(cost.currency ?? '')}`.trimEnd(),
    firstMs !== undefined && `first ${duration(firstMs)}`,
    attempts > 1 && counted(attempts, 'attempt'),
    place !== undefined && oneLine(place),
  ];
  return facts.filter((fact) => fact !== false);
}

/** The lines that stay on the screen of a stream that has ended. */
export function drawEnding(
  row: StreamRow,
  ending: RowEnding,
  elapsedMs: number,
  { columns, nameWidth, paints }: { readonly columns: number; readonly nameWidth: number; readonly paints: Paints },
): readonly string[] {
  const { outcome } = ending;
  const [name, words] = [truncateText(row.name, nameWidth), outcomeWords(ending)];
  const hue = paints.hues[row.hue % paints.hues.length] ?? paints.bold;
  const padding = ' '.repeat(nameWidth - widthOf(name));
  const paint = outcome === 'complete' ? paints.green : outcome === 'stopped' ? paints.yellow : paints.red;
  const start = `${paint(MARKS[outcome])} ${paints.bold(hue(name))}${padding}  ${paint(words)}`;
  const indent = 2 + nameWidth + 2;

  let room = columns - 1 - indent - widthOf(words);
  const facts: string[] = [];
  for (const fact of endFacts(row, ending, elapsedMs)) {
    room -= 2 + widthOf(fact);
    if (room < 0) break;
    facts.push(fact);
  }
  const line = [start, ...(facts.length > 0 ? [paints.dim(facts.join('  '))] : [])].join('  ');
  const { message = '' } = ending;
  if (message === '') return [line];
  const from = Math.min(indent, Math.floor(columns / 3));
  const lines = wrapText(oneLine(message), Math.max(8, columns - 1 - from));
  return [line, ...lines.map((text) => ' '.repeat(from) + paint(text))];
}
