// The build under measurement: `dist/` of this checkout, or the folder that MILLRACE_DIST names.
import process from 'node:process';
import { pathToFileURL } from 'node:url';

const named = process.env['MILLRACE_DIST'];
const dist = named === undefined ? new URL('../dist/', import.meta.url) : pathToFileURL(`${named}/`);

/** A module of the build. */
export function load(path) {
  return import(new URL(path, dist).href);
}
