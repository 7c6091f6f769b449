import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

/** What is put into a page that draws charts: uPlot, as it comes for browsers. */
export interface ChartLibrary {
  /** Makes the global `uPlot`. */
  readonly script: string;
  readonly style: string;
  readonly licence: string;
}

/** Its texts, which the build puts in here: who installs the package has no uPlot. */
declare const MILLRACE_CHART_LIBRARY: ChartLibrary | undefined;

/** The library that the report's page draws with. Read when it is needed where this file was not built. */
export function chartLibrary(): ChartLibrary {
  if (typeof MILLRACE_CHART_LIBRARY !== 'undefined') return MILLRACE_CHART_LIBRARY;
  const { resolve } = createRequire(import.meta.url);
  const read = (file: string): string => readFileSync(resolve(`uplot/${file}`), 'utf8');
  return { script: read('dist/uPlot.iife.min.js'), style: read('dist/uPlot.min.css'), licence: read('LICENSE') };
}
