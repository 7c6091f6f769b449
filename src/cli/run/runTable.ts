import Table from 'cli-table3';
import { counted, duration, grouped } from '../../internal/node/terminal/measures.js';
import { oneLine } from '../../internal/node/terminal/screenText.js';
import { truncateStart, truncateText, widthOf, wrapText } from '../../internal/textWidth.js';
import type { Colors } from '../context.js';
import { GAP, LOOK, paintOutcome, print } from '../receiptTable.js';
import type { JobEntry } from './jobEntry.js';
import type { JobOutcome } from './jobOutcome.js';
import type { Quantiles, RunReport } from './runReport.js';
import { costWords, moneyWords, NONE, tokenWords } from './runWords.js';

/** Jobs that have a row; the rest are summed up. */
const MAX_ROWS = 30;
/** Of a reason that a service gave, which may be a whole page. */
const MAX_WHY_CHARS = 400;
/** A narrower terminal has a paragraph for each job, and no table. */
const MIN_TABLE = 72;
const MAX_NAME = 28;
const MAX_FILE = 36;
const INDENT = '  ';
const MAX_WHY_LINES = 2;

/** What needs a person first. */
const ORDER: readonly JobOutcome[] = ['failed', 'interrupted', 'withheld', 'stopped', 'complete', 'pending'];

/**
 * A run as a person reads it in a terminal when it is over: what came of it all and what it took; then the jobs, those that failed
 * first, with why and where what came of them is. Lines are no wider than `columns` and end with LF.
 */
export function runTable(report: RunReport, columns: number, colors: Colors): string {
  const width = Math.max(20, columns);
  return [drawTotals(report, width, colors), drawJobs(report, width, colors)].filter((part) => part !== '').join('\n');
}

function drawTotals(report: RunReport, width: number, colors: Colors): string {
  const { totals, thisRun, elapsedMs, stopped } = report;
  const { outcomes, jobs, askedAgain } = totals;
  const isWhole = outcomes.complete === jobs;
  const before = jobs - thisRun.jobs - outcomes.pending;
  const facts: (readonly [string, string])[] = [
    ['asked', before === 0 ? '' : `${counted(thisRun.jobs, 'job')} in this run, ${grouped(before)} before it`],
    ['again', askedAgain === 0 ? '' : `${counted(askedAgain, 'job')} begun more than once`],
    ['cost', costWords(thisRun)],
    ['in all', before === 0 ? '' : costWords(totals)],
    ['tokens', tokenWords(thisRun).replace(' tokens', '')],
    ['text', textWords(thisRun)],
    ['first', quantileWords(thisRun.firstContentMs)],
    ['total', quantileWords(thisRun.totalMs)],
    ['stopped', stopped === null ? '' : oneLine(stopped)],
  ];
  const titles = facts.filter(([, words]) => words !== '');
  const titleWidth = Math.max(0, ...titles.map(([title]) => title.length)) + GAP;
  const lines = titles.flatMap(([title, words]) =>
    wrapText(words, width - titleWidth).map(
      (line, index) => `${colors.dim((index === 0 ? title : '').padEnd(titleWidth))}${line}`,
    ),
  );
  const others = ORDER.filter((outcome) => outcome !== 'complete' && outcomes[outcome] > 0);
  const headline = [
    `${grouped(outcomes.complete)} of ${counted(jobs, 'job')} complete`,
    ...others.map((outcome) => `${grouped(outcomes[outcome])} ${outcome}`),
    `in ${duration(elapsedMs)}`,
  ].join(', ');
  const paint = isWhole ? colors.green : outcomes.failed > 0 ? colors.red : colors.yellow;
  const heads = wrapText(`${isWhole ? '✓' : '✗'} ${headline}`, width).map((line) => colors.bold(paint(line)));
  return `${[...heads, ...lines].map((line) => line.trimEnd()).join('\n')}\n`;
}

function textWords({ chars, charsPerSecond }: RunReport['thisRun']): string {
  if (chars === 0) return '';
  return `${counted(chars, 'char')}${charsPerSecond === null ? '' : `, ${grouped(charsPerSecond)}/s`}`;
}

function quantileWords(times: Quantiles | null): string {
  if (times === null) return '';
  const { p50, p90, p99, max } = times;
  return `p50 ${duration(p50)}, p90 ${duration(p90)}, p99 ${duration(p99)}, at most ${duration(max)}`;
}

function drawJobs({ jobs }: RunReport, width: number, colors: Colors): string {
  const buckets = new Map<JobOutcome, JobEntry[]>(ORDER.map((outcome) => [outcome, []]));
  for (const job of jobs) buckets.get(job.outcome)?.push(job);
  const sorted = [...buckets.values()].flat();
  const isTable = width >= MIN_TABLE;
  // In a paragraph stands why; an answer that is there needs none.
  const told = isTable ? sorted : sorted.filter(({ error }) => error !== undefined);
  const shown = told.slice(0, MAX_ROWS);
  const text = shown.length === 0 ? '' : (isTable ? drawTable : drawParagraphs)(shown, width, colors);
  const rest = new Map<JobOutcome, number>();
  for (const { outcome } of sorted) rest.set(outcome, (rest.get(outcome) ?? 0) + 1);
  for (const { outcome } of shown) rest.set(outcome, (rest.get(outcome) ?? 0) - 1);
  const count = sorted.length - shown.length;
  if (count === 0 || shown.length === 0) return text;
  const left = [...rest].filter(([, number]) => number > 0);
  const words = left.map(([outcome, number]) => `${grouped(number)} ${outcome}`).join(', ');
  const lines = wrapText(`… and ${grouped(count)} more: ${words}`, width);
  return `${text}${lines.map((line) => `${colors.dim(line)}\n`).join('')}`;
}

/** `before`: an earlier run has finished it. `kept`: a file was there that no run has made, and was left as it is. */
function outcomeWord({ outcome, skipped, attempts }: JobEntry): string {
  if (skipped !== true) return outcome;
  return attempts === 0 ? 'kept' : 'before';
}

interface Column {
  readonly title: string;
  readonly align: 'left' | 'right';
  readonly read: (job: JobEntry) => string;
}

/** The columns, and which of them go where there is no room for all: the last ones of `SPARED` first. */
const COLUMNS: readonly Column[] = [
  { title: 'outcome', align: 'left', read: outcomeWord },
  { title: 'job', align: 'left', read: ({ id }) => truncateText(oneLine(id), MAX_NAME) },
  { title: 'chars', align: 'right', read: ({ chars }) => (chars === undefined ? NONE : grouped(chars)) },
  { title: 'first', align: 'right', read: ({ firstContentMs }) => time(firstContentMs) },
  { title: 'total', align: 'right', read: ({ totalMs }) => time(totalMs) },
  { title: 'tokens', align: 'right', read: tokens },
  { title: 'cost', align: 'right', read: cost },
  { title: 'tries', align: 'right', read: tries },
  {
    title: 'file',
    align: 'left',
    read: ({ file }) => (file === undefined ? NONE : truncateStart(oneLine(file), MAX_FILE)),
  },
];
const SPARED: readonly string[] = ['total', 'chars', 'cost', 'first', 'tokens', 'tries'];

function drawTable(jobs: readonly JobEntry[], width: number, colors: Colors): string {
  let shown = COLUMNS;
  const tableWidth = (): number =>
    shown.reduce((sum, { title, read }) => {
      const widest = Math.max(widthOf(title), ...jobs.map((job) => widthOf(read(job))));
      return sum + widest + GAP;
    }, -GAP);
  const spared = [...SPARED];
  while (tableWidth() > width && spared.length > 0) {
    const title = spared.pop();
    shown = shown.filter((column) => column.title !== title);
  }
  const table = new Table({
    ...LOOK,
    head: shown.map(({ title }) => colors.dim(title)),
    colAligns: shown.map(({ align }) => align),
  });
  for (const job of jobs) {
    table.push(
      shown.map(({ title, read }) => (title === 'outcome' ? paint(job.outcome, read(job), colors) : read(job))),
    );
  }
  const [head = '', ...rows] = print(table).trimEnd().split('\n');
  // The reasons stand below their rows: as cells they would take the room of all the others.
  const lines = rows.flatMap((row, index) => [row, ...whyLines(jobs[index], width).map((line) => colors.dim(line))]);
  return `${[head, ...lines].join('\n')}\n`;
}

/** Why it is not complete, on a line or two. */
function whyLines(job: JobEntry | undefined, width: number): readonly string[] {
  if (job?.error === undefined) return [];
  const lines = wrapText(why(job), width - INDENT.length);
  const kept = lines.slice(0, MAX_WHY_LINES);
  const last = kept.length - 1;
  return kept.map((line, index) => {
    const isCut = index === last && lines.length > kept.length;
    return INDENT + (isCut ? truncateText(`${line} …`, width - INDENT.length) : line);
  });
}

function drawParagraphs(jobs: readonly JobEntry[], width: number, colors: Colors): string {
  return jobs
    .map((job) => {
      const name = truncateText(oneLine(job.id), width - job.outcome.length - GAP);
      const file = job.file === undefined ? [] : wrapText(oneLine(job.file), width - INDENT.length);
      const lines = [...whyLines(job, width), ...file.map((line) => INDENT + line)];
      return `${paint(job.outcome, job.outcome, colors)}${' '.repeat(GAP)}${name}\n${lines.map((line) => `${line}\n`).join('')}`;
    })
    .join('');
}

function paint(outcome: JobOutcome, text: string, colors: Colors): string {
  if (outcome === 'pending') return colors.dim(text);
  return outcome === 'withheld' ? colors.yellow(text) : paintOutcome(outcome, text, colors);
}

function time(ms: number | undefined): string {
  return ms === undefined ? NONE : duration(ms);
}

/** What the provider counted: that of the answer, or all. A part of it has a plus behind it. */
function tokens({ usage }: JobEntry): string {
  const count = usage?.outputTokens ?? usage?.totalTokens;
  if (count === undefined) return NONE;
  return `${grouped(count)}${usage?.provenance === 'partial' ? '+' : ''}`;
}

function cost({ usage }: JobEntry): string {
  const { total, currency } = usage?.cost ?? {};
  return total === undefined ? NONE : moneyWords(total, currency ?? null);
}

/** Attempts, and runs where there were several. */
function tries({ attempts, runs = 1 }: JobEntry): string {
  if (attempts === undefined) return NONE;
  return runs > 1 ? `${grouped(attempts)} in ${counted(runs, 'run')}` : grouped(attempts);
}

function why({ error }: JobEntry): string {
  return error === undefined ? '' : oneLine(error.message.slice(0, MAX_WHY_CHARS));
}
