// The picture for the README: processor time per token, by client.
import { CLIENTS } from './rows/http.mjs';
import { digits } from './table.mjs';

const SHOWN = ['millrace', 'undici', 'fetchLoop', 'openai', 'ai'].map((client) => CLIENTS[client]);

// It has a ground of its own, so that it reads the same on a light page and on a dark one.
const GROUND = '#ffffff';
const TEXT = '#1f2328';
const OURS = '#0969da';
const OTHERS = '#8c959f';

/** What the picture shows: one panel for each table over HTTP that tells processor time, each bar with its label. */
export function panelsOf({ tables }) {
  return tables
    .filter(({ row, metric }) => (row === 'http' || row === 'paced') && metric === 'cpuPerToken')
    .map(({ row, title, lines }) => ({
      title: row === 'http' ? `one stream at full speed, ${title.split(', ').at(-1)}` : title,
      bars: SHOWN.flatMap((name) => lines.filter((line) => line.name === name)).map(({ name, median }) => ({
        name,
        median,
        label: `${digits(median)} µs`,
      })),
    }));
}

/** The picture as SVG. */
export async function pictureOf(results) {
  const { View, parse } = await import('vega');
  const { compile } = await import('vega-lite');
  const { spec } = compile(chartOf(panelsOf(results), results.machine));
  const view = new View(parse(spec), { renderer: 'none' });
  const svg = await view.toSVG();
  return `${svg}\n`;
}

function chartOf(panels, { cpu, cores, node }) {
  return {
    background: GROUND,
    padding: 16,
    title: {
      text: 'Processor time per token: less is better',
      subtitle: `${cpu}, ${cores} cores, Node ${node}; linear scale, one for each panel`,
      anchor: 'start',
      fontSize: 16,
      subtitleFontSize: 12,
      subtitlePadding: 6,
      offset: 12,
    },
    config: {
      font: 'system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif',
      view: { stroke: null },
      title: { color: TEXT, subtitleColor: '#57606a' },
      axis: { labelColor: TEXT, domain: false, ticks: false },
    },
    spacing: 22,
    vconcat: panels.map(panelOf),
  };
}

function panelOf({ title, bars }) {
  const y = {
    field: 'name',
    type: 'nominal',
    sort: null,
    axis: { title: null, labelLimit: 0, labelFontSize: 12, labelPadding: 8, minExtent: 160, maxExtent: 160 },
  };
  const longest = Math.max(...bars.map(({ median }) => median));
  // Room for the label of the longest bar.
  const x = { field: 'median', type: 'quantitative', axis: null, scale: { domain: [0, longest * 1.15] } };
  return {
    title: { text: title, anchor: 'start', fontSize: 13, fontWeight: 600, offset: 6 },
    width: 540,
    height: { step: 24 },
    data: { values: bars },
    layer: [
      {
        mark: { type: 'bar', height: 15 },
        encoding: {
          y,
          x,
          color: {
            condition: { test: `datum.name === '${SHOWN[0]}'`, value: OURS },
            value: OTHERS,
          },
        },
      },
      {
        mark: { type: 'text', align: 'left', dx: 5, fontSize: 12, color: TEXT },
        encoding: { y, x, text: { field: 'label' } },
      },
    ],
  };
}
