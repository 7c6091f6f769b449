import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const shared = new URL('../../../shared/', import.meta.url);

/** A real stream, recorded by others, with what was computed from it. */
export interface Recording {
  readonly file: string;
  readonly format: string;
  readonly storage: 'raw-sse' | 'json-per-line';
  readonly outcome: 'complete' | 'failed';
  readonly text_sha256: string;
  readonly text_utf16: number;
  readonly reasoning_sha256: string | null;
  readonly tool_args_sha256: string | null;
  readonly frames: number;
  readonly comments: number;
}

/** The recordings of these formats, or all of them; none where the folder is not beside the project, as in a user's clone. */
export function recordings(...formats: readonly string[]): readonly Recording[] {
  const index = new URL('recordings/index.json', shared);
  if (!existsSync(index)) return [];
  const { recordings } = JSON.parse(readFileSync(index, 'utf8')) as { recordings: readonly Recording[] };
  return formats.length === 0 ? recordings : recordings.filter(({ format }) => formats.includes(format));
}

/** A recording's bytes. */
export function recorded({ file }: Recording): Buffer {
  return readFileSync(fileURLToPath(new URL(`recordings/${file}`, shared)));
}
