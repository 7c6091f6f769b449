import process from 'node:process';
import type { RowsSettings, RowsView, ShownSink, TerminalView, ViewSettings } from '../../terminalView.js';
import type { Screen } from './screen.js';
import { LineScreen } from './lineScreen.js';
import { liveScreenOf } from './liveScreen.js';
import { hasColors } from './paints.js';
import { OwnRows } from './ownRows.js';
import { StreamsView } from './streamsView.js';

/** Shows a sink's streams as rows of a terminal, or as lines where there is none that could be drawn on. */
export function openTerminal(sink: ShownSink, settings: ViewSettings): TerminalView {
  const { env } = process;
  const isLive =
    settings.mode === undefined ? settings.output.isTTY === true && isForPersons(env) : settings.mode === 'live';
  const isColored = hasColors(env, isLive);
  const screen: Screen = isLive ? liveScreenOf(sink, settings, isColored) : new LineScreen(sink, settings, isColored);
  return new StreamsView(sink, settings, screen);
}

/** Shows rows that the caller fills, with a footer; to be asked for on a live terminal only. */
export function openRows(settings: RowsSettings): RowsView {
  return new OwnRows(settings);
}

/** No log of a CI job, and a terminal that can move its cursor. */
function isForPersons(env: Readonly<Record<string, string | undefined>>): boolean {
  const { CI: ci = '', TERM: term } = env;
  return (ci === '' || ci === '0' || ci === 'false') && term !== 'dumb';
}
