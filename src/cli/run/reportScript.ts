import type uPlotClass from 'uplot';
import type { JobOutcome } from './jobOutcome.js';
import type { PageJob } from './pageJobs.js';

/**
 * Brings the report's page to life: the table, which is searched, filtered and sorted, and the charts. It becomes the page's script by its own
 * text, and so must use nothing from outside of itself.
 */
export function showReport(uPlot: typeof uPlotClass | undefined, jobs: readonly PageJob[]): void {
  const PAGE = 100;
  /** More rows at once keep a browser busy for seconds. */
  const MOST_AT_ONCE = 2_000;
  const NONE = '–';

  const byId = (id: string): HTMLElement => document.getElementById(id) ?? document.body; // the page has them all
  const element = (tag: string, className: string, text = ''): HTMLElement => {
    const made = document.createElement(tag);
    if (className !== '') made.className = className;
    made.textContent = text;
    return made;
  };
  const grouped = (value: number): string => Math.round(value).toLocaleString('en-US');
  const duration = (ms: number): string => {
    const seconds = ms / 1000;
    if (seconds < 9.95) return `${seconds.toFixed(seconds < 0.995 ? 2 : 1)} s`;
    if (seconds < 59.5) return `${String(Math.round(seconds))} s`;
    const minutes = Math.floor(Math.round(seconds) / 60);
    const rest = String(Math.round(seconds) % 60).padStart(2, '0');
    if (minutes < 60) return `${String(minutes)} min ${rest} s`;
    return `${String(Math.floor(minutes / 60))} h ${String(minutes % 60).padStart(2, '0')} min`;
  };
  const given = (value: number | undefined, show: (value: number) => string): string =>
    value === undefined ? NONE : show(value);

  // The table

  const shownOutcomes = new Set<JobOutcome>();
  let [search, limit] = ['', PAGE];
  let [sortBy, isDown]: [string, boolean] = ['', false];

  const severity: readonly JobOutcome[] = ['failed', 'interrupted', 'withheld', 'stopped', 'pending', 'complete'];
  const valueOf: Readonly<Record<string, (job: PageJob) => number | string | undefined>> = {
    id: (job) => job.id,
    outcome: (job) => severity.indexOf(job.outcome),
    first: (job) => job.first,
    total: (job) => job.total,
    chars: (job) => job.chars,
    tokens: (job) => job.out,
    cost: (job) => job.cost,
    tries: (job) => job.tries,
  };
  const collator = new Intl.Collator('en', { numeric: true });
  const compare = (a: number | string | undefined, b: number | string | undefined): number => {
    // What is not known is last, whichever way it is sorted.
    if (a === undefined || b === undefined) return a === b ? 0 : a === undefined ? Infinity : -Infinity;
    const order = typeof a === 'string' || typeof b === 'string' ? collator.compare(String(a), String(b)) : a - b;
    return isDown ? -order : order;
  };
  const selected = (): PageJob[] => {
    const words = search.toLowerCase().split(/\s+/);
    const found = jobs.filter((job) => {
      if (shownOutcomes.size > 0 && !shownOutcomes.has(job.outcome)) return false;
      const text = `${job.id}\n${job.model}\n${job.file ?? ''}\n${job.code ?? ''}\n${job.why ?? ''}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
    const read = valueOf[sortBy];
    return read === undefined ? found : found.sort((a, b) => compare(read(a), read(b)));
  };
  const rowOf = (job: PageJob): HTMLElement => {
    const row = document.createElement('tr');
    const name = document.createElement('th');
    name.scope = 'row';
    name.append(element('bdi', 'id', job.id), element('bdi', 'model', job.model));
    if (job.why !== undefined) {
      const why = element('p', 'why');
      why.append(element('code', '', job.code), ' ', element('bdi', '', job.why));
      name.append(why);
    }
    const outcome = document.createElement('td');
    outcome.append(element('span', `chip ${job.outcome}`, job.outcome));
    if (job.before === true) outcome.append(element('span', 'before', 'by an earlier run'));
    const number = (text: string): HTMLElement => element('td', 'number', text);
    const file = document.createElement('td');
    if (job.href === undefined) file.textContent = NONE;
    else {
      const link = document.createElement('a');
      link.href = job.href;
      link.append(element('bdi', '', job.file));
      file.append(link);
    }
    const cost = given(job.cost, (value) => `${String(Number(value.toPrecision(3)))} ${job.currency ?? ''}`.trimEnd());
    const tries = given(job.tries, grouped) + ((job.runs ?? 1) > 1 ? ` in ${String(job.runs)} runs` : '');
    const tokens =
      job.in === undefined && job.out === undefined ? NONE : `${given(job.in, grouped)} → ${given(job.out, grouped)}`;
    row.append(
      name,
      outcome,
      number(given(job.first, duration)),
      number(given(job.total, duration)),
      number(given(job.chars, grouped)),
      number(tokens),
      number(cost),
      number(tries),
      file,
    );
    return row;
  };
  const showTable = (): void => {
    const found = selected();
    byId('rows').replaceChildren(...found.slice(0, limit).map(rowOf));
    const [shown, all] = [Math.min(limit, found.length), found.length];
    byId('count').textContent =
      all === 0 ? 'No job is like that.' : `${grouped(shown)} of ${grouped(all)} ${all === 1 ? 'job' : 'jobs'}`;
    byId('more').hidden = shown === all;
    byId('all').hidden = shown === all || all > MOST_AT_ONCE;
  };
  const sortButtons = [...document.querySelectorAll<HTMLButtonElement>('th button')];
  for (const button of sortButtons) {
    button.addEventListener('click', () => {
      const by = button.dataset['sort'] ?? '';
      // Times and numbers are looked at from the largest one on.
      isDown = sortBy === by ? !isDown : by !== 'id' && by !== 'outcome';
      sortBy = by;
      for (const { dataset, parentElement } of sortButtons) {
        if (dataset['sort'] === by) parentElement?.setAttribute('aria-sort', isDown ? 'descending' : 'ascending');
        else parentElement?.removeAttribute('aria-sort');
      }
      showTable();
    });
  }
  for (const button of document.querySelectorAll<HTMLButtonElement>('button[data-outcome]')) {
    button.addEventListener('click', () => {
      const outcome = button.dataset['outcome'] as JobOutcome; // as the page was made
      if (!shownOutcomes.delete(outcome)) shownOutcomes.add(outcome);
      button.setAttribute('aria-pressed', String(shownOutcomes.has(outcome)));
      limit = PAGE;
      showTable();
    });
  }
  const searchField = byId('search') as HTMLInputElement; // as the page was made
  const find = (text: string): void => {
    search = text;
    limit = PAGE;
    showTable();
  };
  searchField.addEventListener('input', () => {
    find(searchField.value.trim());
  });
  byId('more').addEventListener('click', () => {
    limit += 5 * PAGE;
    showTable();
  });
  byId('all').addEventListener('click', () => {
    limit = Infinity;
    showTable();
  });
  showTable();

  // The charts

  if (uPlot === undefined) return;
  // eslint-disable-next-line @typescript-eslint/no-unsafe-enum-assignment -- the enumeration is there for the compiler only; 3 is Log
  const logarithmic: uPlotClass.Scale = { distr: 3 };
  const charts: { readonly chart: uPlotClass; readonly target: HTMLElement }[] = [];
  const color = (name: string): string =>
    getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const seconds = (ms: number | undefined): number | null => (ms === undefined ? null : Math.max(0.001, ms / 1000));
  const axis = (label: string): uPlotClass.Axis => ({
    label,
    stroke: () => color('soft'),
    grid: { stroke: () => color('line'), width: 1 },
    ticks: { stroke: () => color('line'), width: 1 },
    font: '12px system-ui, sans-serif',
    labelFont: '12px system-ui, sans-serif',
  });
  const secondsShown = (_: uPlotClass, splits: (number | null)[]): (string | null)[] =>
    splits.map((value) => (value === null ? null : value < 120 ? `${String(value)} s` : duration(value * 1000)));
  const clockShown = (_: uPlotClass, splits: number[], _axis: number, _space: number, step: number): string[] => {
    const clock: Intl.DateTimeFormatOptions = { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' };
    if (step < 60) clock.second = '2-digit';
    const format = new Intl.DateTimeFormat(undefined, step < 86_400 ? clock : { month: 'short', day: 'numeric' });
    return splits.map((value) => format.format(new Date(value * 1000)));
  };
  const timeAxis: uPlotClass.Axis = { ...axis(''), values: secondsShown, size: 64 };
  const make = (
    id: string,
    data: (number | null)[][],
    options: Pick<uPlotClass.Options, 'scales' | 'axes' | 'series'> & {
      readonly tell: (at: number) => string | undefined;
      readonly pick?: (at: number) => void;
    },
  ): void => {
    const target = byId(id);
    const tip = element('div', 'tip');
    tip.hidden = true;
    const { tell, pick, ...rest } = options;
    const chart = new uPlot(
      {
        width: target.clientWidth,
        height: 300,
        legend: { show: false },
        cursor: { y: false, drag: { x: true, y: false } },
        hooks: {
          setCursor: [
            ({ cursor }) => {
              const text = typeof cursor.idx !== 'number' || (cursor.left ?? -1) < 0 ? undefined : tell(cursor.idx);
              tip.hidden = text === undefined;
              if (text === undefined) return;
              tip.textContent = text;
              const left = (cursor.left ?? 0) + chart.over.offsetLeft;
              tip.style.left = `${String(Math.min(left + 12, Math.max(0, target.clientWidth - tip.offsetWidth)))}px`;
            },
          ],
        },
        ...rest,
      },
      data as uPlotClass.AlignedData, // all lists are as long as the first
      target,
    );
    target.append(tip);
    // A click that is no pull.
    let downAt = NaN;
    chart.over.addEventListener('mousedown', (event) => {
      downAt = event.clientX;
    });
    chart.over.addEventListener('click', (event) => {
      if (Math.abs(event.clientX - downAt) < 3 && typeof chart.cursor.idx === 'number') pick?.(chart.cursor.idx);
    });
    charts.push({ chart, target });
  };
  const dots = (name: string, hue: string, size: number): uPlotClass.Series => ({
    label: name,
    stroke: () => color(hue),
    paths: () => null,
    points: { show: true, size, width: 1.5, stroke: () => color(hue), fill: () => color(`${hue}-fill`) },
  });
  const timed = jobs.filter((job) => job.before !== true && job.at !== undefined && job.total !== undefined);
  timed.sort((a, b) => (a.at ?? 0) - (b.at ?? 0));
  const isWhole = ({ outcome }: PageJob): boolean => outcome === 'complete' || outcome === 'withheld';
  const isMany = timed.length > 1_000;
  if (timed.length > 0) {
    make(
      'times',
      [
        timed.map((job) => (job.at ?? 0) / 1000),
        timed.map((job) => seconds(job.first)),
        timed.map((job) => (isWhole(job) ? seconds(job.total) : null)),
        timed.map((job) => (isWhole(job) ? null : seconds(job.total))),
      ],
      {
        scales: { x: { time: true }, y: logarithmic },
        axes: [{ ...axis('when the job was asked'), values: clockShown, space: 72 }, timeAxis],
        series: [
          {},
          dots('first', 'first', isMany ? 3 : 6),
          dots('total', 'total', isMany ? 3 : 6),
          dots('failed', 'bad', isMany ? 4 : 8),
        ],
        tell: (at) => {
          const job = timed[at];
          if (job === undefined) return undefined;
          const { id, outcome, first, total } = job;
          const name = id.length > 40 ? `${id.slice(0, 40)}…` : id;
          return `${name}: ${outcome}, first content ${given(first, duration)}, in all ${given(total, duration)}`;
        },
        pick: (at) => {
          const id = timed[at]?.id ?? '';
          searchField.value = id;
          find(id);
          byId('jobs').scrollIntoView({ block: 'start' });
        },
      },
    );
  }
  const sorted = (times: readonly (number | undefined)[]): number[] =>
    Float64Array.from(times.filter((time) => time !== undefined)).sort() as unknown as number[]; // read by place only
  const firsts = sorted(jobs.map((job) => job.first));
  const totals = sorted(jobs.filter(isWhole).map((job) => job.total));
  if (totals.length > 0 || firsts.length > 0) {
    const shares = Array.from({ length: 201 }, (_, step) => step / 2);
    const at = (times: readonly number[], share: number): number | null =>
      times.length === 0 ? null : seconds(times[Math.max(0, Math.ceil((share / 100) * times.length) - 1)]);
    const line = (name: string, hue: string): uPlotClass.Series => ({
      label: name,
      stroke: () => color(hue),
      width: 2,
      points: { show: false },
    });
    make('shares', [shares, shares.map((share) => at(firsts, share)), shares.map((share) => at(totals, share))], {
      scales: { x: { time: false, range: [0, 100] }, y: logarithmic },
      axes: [
        { ...axis('share of the jobs'), values: (_, splits) => splits.map((value) => `${String(value)} %`) },
        timeAxis,
      ],
      series: [{}, line('first', 'first'), line('total', 'total')],
      tell: (place) => {
        const share = shares[place] ?? 0;
        const say = (times: readonly number[]): string => {
          const value = at(times, share);
          return value === null ? NONE : duration(value * 1000);
        };
        return `${String(share)} % of the jobs: first content within ${say(firsts)}, all within ${say(totals)}`;
      },
    });
  }
  const observer = new ResizeObserver(() => {
    for (const { chart, target } of charts) {
      if (target.clientWidth > 0 && target.clientWidth !== chart.width) {
        chart.setSize({ width: target.clientWidth, height: chart.height });
      }
    }
  });
  for (const { target } of charts) observer.observe(target);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    for (const { chart } of charts) chart.redraw(true, true);
  });
}
