import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import { counted, duration, grouped } from '../../internal/node/terminal/measures.js';
import { chartLibrary } from './chartLibrary.js';
import { escapeHTML, inlineJSON } from './escapeHTML.js';
import type { JobEntry } from './jobEntry.js';
import type { JobOutcome } from './jobOutcome.js';
import { pageJobs } from './pageJobs.js';
import { showReport } from './reportScript.js';
import { REPORT_STYLE } from './reportStyle.js';
import type { Quantiles, RunReport, Totals } from './runReport.js';
import { moneyWords, NONE } from './runWords.js';

const OUTCOMES: readonly JobOutcome[] = ['complete', 'withheld', 'failed', 'interrupted', 'stopped', 'pending'];
/** Reasons that are told one by one above the table. */
const MAX_REASONS = 8;
/** Of the message that stands for a reason. */
const MAX_MESSAGE_CHARS = 240;

/**
 * The page `report.html`: what a run did, for a person and for those whom it is shown to. It stands beside the files of the jobs and needs
 * nothing else: no request goes out from it, and what is not its own script cannot run in it, whatever is in the names and the errors of
 * the jobs. Charts of the times to the first content and to the end, what it cost, why jobs failed, and a table of all jobs.
 */
export function reportPage(report: RunReport): string {
  const { script, style, licence } = chartLibrary();
  const library = asParsed(`/*\n${licence.trim()}\n*/\n${script}`);
  const data = inlineJSON(pageJobs(report));
  const program = asParsed(
    `(${showReport.toString()})(globalThis.uPlot, JSON.parse(document.getElementById('data').textContent));`,
  );
  const css = asParsed(`${style}\n${REPORT_STYLE}`);
  const policy = [
    "default-src 'none'",
    `script-src ${hashOf(library)} ${hashOf(program)}`,
    `style-src ${hashOf(css)}`,
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ');
  const { complete } = report.totals.outcomes;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>${grouped(complete)} of ${counted(report.totals.jobs, 'job')} complete · ${escapeHTML(basename(report.folder))} · millrace</title>
<link rel="icon" href="data:,">
<style>${css}</style>
</head>
<body>
${drawHeader(report)}
<main>
${drawTiles(report)}
${drawReasons(report.jobs)}
${drawTimes(report)}
${drawTable(report)}
</main>
<footer><p>Written by millrace. The same is in <a href="./report.json">report.json</a>, for programs.</p></footer>
<script type="application/json" id="data">${data}</script>
<script>${library}</script>
<script>${program}</script>
</body>
</html>
`;
}

/** As a browser reads it, which knows one line end: the hashes are of that. */
function asParsed(text: string): string {
  return text.replace(/\r\n?/g, '\n');
}

/** What the policy lets run, or apply: this text and no other. */
function hashOf(text: string): string {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
}

function drawHeader({ folder, startedAt, elapsedMs, stopped, totals }: RunReport): string {
  const { jobs, outcomes } = totals;
  const whole = outcomes.complete === jobs;
  const others = OUTCOMES.filter((outcome) => outcome !== 'complete' && outcomes[outcome] > 0);
  const verdict = whole ? 'Every answer is there.' : others.map((o) => `${grouped(outcomes[o])} ${o}`).join(', ');
  return `<header>
<p class="brand"><svg viewBox="0 0 32 32" width="28" height="28" aria-hidden="true"><g fill="none" stroke="currentColor" stroke-width="2"><circle cx="16" cy="14" r="9"/><circle cx="16" cy="14" r="2"/><path d="M16 5v18M7 14h18M9.6 7.6l12.8 12.8M22.4 7.6 9.6 20.4"/><path d="M1 28c3-3 5-3 7.5 0s5 3 7.5 0 5-3 7.5 0 5 3 7.5 0"/></g></svg> millrace run</p>
<h1><span class="big">${grouped(outcomes.complete)}</span> of ${counted(jobs, 'job')} complete</h1>
<p class="verdict">${verdict}</p>
${drawBar(totals)}
<p class="when"><bdi>${escapeHTML(folder)}</bdi> · <time datetime="${startedAt}">${startedAt.slice(0, 16).replace('T', ' ')} UTC</time> · ${duration(elapsedMs)}${stopped === null ? '' : ` · stopped: <bdi>${escapeHTML(stopped)}</bdi>`}</p>
</header>`;
}

/** The outcomes as parts of a whole. The words beside it say the same. */
function drawBar({ jobs, outcomes }: Totals): string {
  let from = 0;
  const parts = OUTCOMES.flatMap((outcome) => {
    const width = jobs === 0 ? 0 : (outcomes[outcome] / jobs) * 100;
    if (width === 0) return [];
    // One of ten thousand is seen too.
    const part = `<rect class="${outcome}" x="${from.toFixed(3)}%" width="${Math.max(width, 0.3).toFixed(3)}%" height="100%"/>`;
    from += width;
    return [part];
  });
  return `<svg class="bar" aria-hidden="true">${parts.join('')}</svg>`;
}

function drawTiles({ totals, thisRun }: RunReport): string {
  const before = totals.jobs - totals.outcomes.pending - thisRun.jobs;
  const tiles: (readonly [title: string, value: string, more: string])[] = [
    ['Cost', ...costTile(totals, thisRun)],
    ['Tokens', ...tokenTile(thisRun)],
    [
      'Text',
      thisRun.chars === 0 ? NONE : `${short(thisRun.chars)} chars`,
      thisRun.charsPerSecond === null ? '' : `${grouped(thisRun.charsPerSecond)} a second`,
    ],
    ['First content', ...timeTile(thisRun.firstContentMs)],
    ['Whole answer', ...timeTile(thisRun.totalMs)],
    [
      'Asked',
      counted(thisRun.jobs, 'job'),
      [
        before > 0 ? `${grouped(before)} finished before` : '',
        thisRun.attempts > thisRun.jobs ? `${grouped(thisRun.attempts - thisRun.jobs)} retries` : '',
        totals.askedAgain > 0 ? `${counted(totals.askedAgain, 'job')} begun more than once` : '',
      ]
        .filter((words) => words !== '')
        .join(', '),
    ],
  ];
  const drawn = tiles.map(
    ([title, value, more]) =>
      `<div class="tile"><dt>${title}</dt><dd><strong>${escapeHTML(value)}</strong>${more === '' ? '' : `<span>${escapeHTML(more)}</span>`}</dd></div>`,
  );
  return `<section aria-labelledby="in-short"><h2 id="in-short" class="unseen">In short</h2><dl class="tiles">${drawn.join('')}</dl></section>`;
}

function costTile(totals: Totals, { cost, costUnknown, jobs }: Totals): readonly [string, string] {
  const sum = (costs: Totals['cost']): string =>
    costs.map(({ currency, total }) => moneyWords(total, currency)).join(' + ');
  if (cost.length === 0) return [NONE, jobs === 0 ? '' : 'the providers told none'];
  const all = totals.jobs - totals.outcomes.pending > jobs ? `${sum(totals.cost)} with earlier runs` : '';
  const unknown = costUnknown > 0 ? `unknown for ${counted(costUnknown, 'job')}` : '';
  return [sum(cost), [unknown, all].filter((words) => words !== '').join(', ')];
}

function tokenTile({
  inputTokens,
  outputTokens,
  totalTokens,
  tokensUnknown,
  partial,
  jobs,
}: Totals): readonly [string, string] {
  const number = (count: number | null): string => (count === null ? NONE : short(count));
  const gaps = [
    tokensUnknown > 0 ? `unknown for ${counted(tokensUnknown, 'job')}` : '',
    partial > 0 ? `in part for ${counted(partial, 'job')}` : '',
  ].filter((words) => words !== '');
  if (totalTokens === null && inputTokens === null && outputTokens === null) {
    return [NONE, jobs === 0 ? '' : 'the providers told none'];
  }
  if (inputTokens === null && outputTokens === null) return [number(totalTokens), gaps.join(', ')];
  return [`${number(outputTokens)} out`, [`${number(inputTokens)} in`, ...gaps].join(', ')];
}

function timeTile(times: Quantiles | null): readonly [string, string] {
  if (times === null) return [NONE, ''];
  return [duration(times.p50), `half of them; nine of ten within ${duration(times.p90)}`];
}

/** Why jobs are not complete: the same reasons together, the most frequent first. */
function drawReasons(jobs: readonly JobEntry[]): string {
  const reasons = new Map<string, { count: number; readonly message: string }>();
  for (const { error } of jobs) {
    if (error === undefined) continue;
    const reason = reasons.get(error.code) ?? { count: 0, message: error.message };
    reason.count += 1;
    reasons.set(error.code, reason);
  }
  if (reasons.size === 0) return '';
  const sorted = [...reasons].sort(([, a], [, b]) => b.count - a.count);
  const items = sorted.slice(0, MAX_REASONS).map(([code, { count, message }]) => {
    const text = message.length > MAX_MESSAGE_CHARS ? `${message.slice(0, MAX_MESSAGE_CHARS)}…` : message;
    return `<li><span class="times">${grouped(count)}×</span> <code>${escapeHTML(code)}</code> <bdi>${escapeHTML(text)}</bdi></li>`;
  });
  const more = sorted.length - MAX_REASONS;
  const rest = more > 0 ? `<li>and ${grouped(more)} more kinds of reasons</li>` : '';
  return `<section class="card" aria-labelledby="reasons"><h2 id="reasons">Why jobs are not complete</h2><ul class="reasons">${items.join('')}${rest}</ul></section>`;
}

function drawTimes({ totals, thisRun }: RunReport): string {
  const { firstContentMs, totalMs } = totals;
  if (firstContentMs === null && totalMs === null) return '';
  const legend = (names: readonly (readonly [string, string])[]): string =>
    `<ul class="legend">${names.map(([hue, name]) => `<li class="${hue}">${name}</li>`).join('')}</ul>`;
  const series = [
    ['first', 'first content'],
    ['total', 'whole answer'],
  ] as const;
  const hasFailed = thisRun.outcomes.failed + thisRun.outcomes.interrupted + thisRun.outcomes.stopped > 0;
  const over =
    thisRun.jobs === 0
      ? ''
      : `<figure>
<figcaption>How long each job took, by when it was asked ${legend([...series, ...(hasFailed ? [['bad', 'until it failed'] as const] : [])])}</figcaption>
<div class="chart" id="times" role="img" aria-label="A dot for each job of this run: ${alternative(thisRun)} The table of jobs below has the numbers."></div>
</figure>`;
  return `<section class="card" aria-labelledby="how-fast"><h2 id="how-fast">How fast</h2>
${over}
<figure>
<figcaption>How many jobs were that fast ${legend(series)}</figcaption>
<div class="chart" id="shares" role="img" aria-label="Two lines that rise with the share of the jobs: ${alternative(totals)} The table below has the same."></div>
</figure>
<div class="scroll" tabindex="0" role="region" aria-label="Table of times">
<table class="quantiles">
<caption>Within these times ...</caption>
<thead><tr><td></td><th scope="col">half of the jobs</th><th scope="col">nine of ten</th><th scope="col">99 of 100</th><th scope="col">all</th></tr></thead>
<tbody>${quantileRow('first content', 'first', firstContentMs)}${quantileRow('whole answer', 'total', totalMs)}</tbody>
</table>
</div>
<p class="hint">Pull in a chart to look closer, double-click to see all of it again; a click on a dot shows its job below.</p>
</section>`;
}

/** What a chart shows, in words. */
function alternative({ firstContentMs, totalMs }: Totals): string {
  const say = (what: string, times: Quantiles | null): string =>
    times === null
      ? ''
      : `${what} within ${duration(times.p50)} for half of them, ${duration(times.p90)} for nine of ten, ${duration(times.max)} for all. `;
  return `${say('first content', firstContentMs)}${say('The whole answer', totalMs)}`;
}

function quantileRow(name: string, hue: string, times: Quantiles | null): string {
  if (times === null) return '';
  const { p50, p90, p99, max } = times;
  const cells = [p50, p90, p99, max].map((time) => `<td class="number">${duration(time)}</td>`);
  return `<tr><th scope="row" class="${hue}">${name}</th>${cells.join('')}</tr>`;
}

function drawTable({ totals }: RunReport): string {
  const present = OUTCOMES.filter((outcome) => totals.outcomes[outcome] > 0);
  const filters = present.map(
    (outcome) =>
      `<button type="button" class="chip ${outcome}" data-outcome="${outcome}" aria-pressed="false">${outcome} ${grouped(totals.outcomes[outcome])}</button>`,
  );
  const head = (by: string, title: string, kind = ''): string =>
    `<th scope="col"${kind}><button type="button" data-sort="${by}">${title}</button></th>`;
  const number = ' class="number"';
  return `<section class="card" id="jobs" aria-labelledby="all-jobs"><h2 id="all-jobs">Jobs</h2>
<div class="tools">
<label>Find <input type="search" id="search" placeholder="name, model, file, error" autocomplete="off"></label>
<div class="filters" role="group" aria-label="Show only">${filters.join('')}</div>
<p id="count" role="status"></p>
</div>
<div class="scroll" tabindex="0" role="region" aria-label="Table of jobs">
<table class="jobs">
<caption class="unseen">All jobs, in the order of the job file until a column is chosen to sort by</caption>
<thead><tr>${head('id', 'Job')}${head('outcome', 'Outcome')}${head('first', 'First', number)}${head('total', 'Total', number)}${head('chars', 'Chars', number)}${head('tokens', 'Tokens', number)}${head('cost', 'Cost', number)}${head('tries', 'Tries', number)}<th scope="col">File</th></tr></thead>
<tbody id="rows"></tbody>
</table>
</div>
<p class="more"><button type="button" id="more" hidden>Show 500 more</button> <button type="button" id="all" hidden>Show all</button></p>
<noscript><p>The table and the charts are drawn by a script in this page, which may not run here. <a href="./report.json">report.json</a> has the same.</p></noscript>
</section>`;
}

/** `1.2 M`, for a tile. */
function short(count: number): string {
  if (count < 10_000) return grouped(count);
  if (count < 999_500) return `${String(Number((count / 1_000).toPrecision(3)))} k`;
  return `${String(Number((count / 1_000_000).toPrecision(3)))} M`;
}
