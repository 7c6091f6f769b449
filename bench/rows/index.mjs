import { dialects } from './dialects.mjs';
import { file } from './file.mjs';
import { http } from './http.mjs';
import { linear } from './linear.mjs';
import { paced } from './paced.mjs';
import { parse } from './parse.mjs';
import { recordings } from './recordings.mjs';
import { size } from './size.mjs';
import { text } from './text.mjs';

/** All rows, by the names that `--only` takes, in the order of the table. */
export const ROWS = { parse, text, http, paced, linear, file, dialects, recordings, size };
