import { Format } from 'cli-progress';
import { duration, grouped } from '../../internal/node/terminal/measures.js';
import { oneLine } from '../../internal/node/terminal/screenText.js';
import { truncateText, widthOf } from '../../internal/textWidth.js';
import type { Colors } from '../context.js';
import { gateWords } from './gateBoard.js';
import type { RunSummary } from './runTally.js';
import type { GateNote } from './runView.js';
import { leftWords, summaryWords } from './runWords.js';

/** What stands below the rows. */
export interface FooterFacts {
  readonly summary: RunSummary;
  /** The gates that hold somebody up. */
  readonly gates: readonly GateNote[];
  /** Why no more jobs are taken. */
  readonly stop: string | undefined;
}

const GAP = '  ';
const MIN_BAR = 8;
const MAX_BAR = 40;
/** Gates that have a line. */
const MAX_GATES = 2;
/** Between the two parts of a bar, to tell them apart; nothing that is shown. */
const SEAM = '\n';

/** The run as a whole, on as many lines as there is room for: a bar, what it took so far, and what holds it up. */
export function drawFooter(facts: FooterFacts, columns: number, room: number, colors: Colors): readonly string[] {
  const width = columns - 1;
  const { summary, gates, stop } = facts;
  const lines = [
    drawBar(summary, width, colors),
    joinFitting(summaryWords(summary), width, colors),
    ...(stop === undefined ? [] : [colors.yellow(truncateText(stop, width))]),
    ...gates
      .slice(0, MAX_GATES)
      .map((gate) => colors.yellow(truncateText(`gate ${oneLine(gate.name)}: ${gateWords(gate)}`, width))),
    ...(gates.length > MAX_GATES
      ? [colors.yellow(truncateText(`${String(gates.length - MAX_GATES)} more gates limit`, width))]
      : []),
  ];
  return lines.filter((line) => line !== '').slice(0, room);
}

function drawBar(summary: RunSummary, width: number, colors: Colors): string {
  const { jobs, done, failed, running, elapsedMs, leftMs } = summary;
  if (jobs === undefined) {
    const texts = [`${grouped(done)} done`, `${grouped(running)} running`, `${duration(elapsedMs)} so far`];
    return colors.bold(truncateText(texts.join(GAP), width));
  }
  const ratio = jobs === 0 ? 1 : Math.min(1, done / jobs);
  // Never 100 % before it is.
  const percentage = `${String(Math.floor(ratio * 100))} %`;
  const count = `${grouped(done)}/${grouped(jobs)}`;
  const asides = [percentage, leftWords(leftMs), `${duration(elapsedMs)} so far`];
  // What does not fit goes, the least telling first, and at last the bar.
  for (let shown = asides.length; shown >= 0; shown -= 1) {
    const texts = [count, ...asides.slice(0, shown)];
    const rest = width - texts.reduce((sum, text) => sum + GAP.length + widthOf(text), 0);
    if (rest < MIN_BAR) continue;
    const barsize = Math.min(MAX_BAR, rest);
    const bar = Format.BarFormat(ratio, {
      barsize,
      barCompleteString: '━'.repeat(barsize),
      barIncompleteString: '─'.repeat(barsize),
      barGlue: SEAM,
    });
    const [full = '', empty = ''] = bar.split(SEAM);
    const paint = failed > 0 ? colors.yellow : colors.green;
    const [first = '', ...others] = texts;
    return [`${paint(full)}${colors.dim(empty)}`, colors.bold(first), ...others].join(GAP);
  }
  return truncateText(count, width);
}

/** As many words as fit. */
function joinFitting(words: readonly string[], width: number, { dim }: Colors): string {
  const [first = '', ...others] = words;
  let line = truncateText(first, width);
  for (const word of others) {
    const longer = `${line} · ${word}`;
    if (widthOf(longer) > width) break;
    line = longer;
  }
  return line === '' ? '' : dim(line);
}
