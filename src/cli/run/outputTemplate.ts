import { bytesOf, isSafeText, MAX_NAME_BYTES, MIN_SHARE_BYTES, nameProblem, safeName, shares } from './safeName.js';

/** A template, or what comes of it for a job, is no path below the output folder. */
export class TemplateError extends Error {
  override readonly name = 'TemplateError';
}

/** Where answers go, with fields of their jobs in braces. */
export interface OutputTemplate {
  /** The fields that it names. */
  readonly fields: readonly string[];
  /**
   * The path for one job, with `/` between its parts.
   * @param valueOf - a field's value
   * @throws TemplateError for a field that the job has not, or that is no text, number or truth, and for what cannot be a path
   */
  readonly render: (valueOf: (field: string) => unknown) => string;
}

/** Text as it is, or a field. */
type Piece = string | { readonly field: string };

/**
 * Reads a template such as `{provider}/{id}-{meta.title}.md`. A slash in it makes folders; what a field says is always a part of one name.
 * `{{` and `}}` are braces.
 * @throws TemplateError for one that leads out of the output folder, or could not be a path on every system
 */
export function outputTemplate(text: string): OutputTemplate {
  const names = namesOf(text);
  for (const [at, pieces] of names.entries()) {
    const literal = pieces.filter((piece) => typeof piece === 'string').join('');
    if (!isSafeText(literal)) {
      throw new TemplateError(
        'a character in it is in no file name on every system: a control character, \\ : * ? " < > or |',
      );
    }
    if (pieces.length === 0) {
      throw new TemplateError(
        at === 0
          ? 'it must not begin at a root'
          : at === names.length - 1
            ? 'it must name a file, not a folder'
            : 'it has a folder without a name',
      );
    }
    if (pieces.every((piece) => typeof piece === 'string')) refuse(nameProblem(literal));
    if (at === 0 && literal === '~' && pieces.length === 1)
      throw new TemplateError('it is taken from the output folder, not from home (~)');
  }
  const fields = names.flat().flatMap((piece) => (typeof piece === 'string' ? [] : [piece.field]));
  return {
    fields: [...new Set(fields)],
    render: (valueOf) => names.map((pieces) => nameOf(pieces, valueOf)).join('/'),
  };
}

/** A path as a template that gives just that path. */
export function literalTemplate(path: string): string {
  return path.replace(/[{}]/g, '$&$&');
}

/** The pieces of each name between slashes. */
function namesOf(text: string): readonly (readonly Piece[])[] {
  const names: Piece[][] = [[]];
  for (const [token] of text.matchAll(TOKEN)) {
    const name = names.at(-1) ?? [];
    if (token === '/') names.push([]);
    else if (token === '{{' || token === '}}') name.push(token.charAt(0));
    else if (token === '{' || token === '}')
      throw new TemplateError('a brace stands alone in it; {{ and }} are braces as text');
    else if (token.startsWith('{')) {
      const field = token.slice(1, -1).trim();
      if (field === '') throw new TemplateError('braces in it name no field');
      name.push({ field });
    } else name.push(token);
  }
  return names;
}

const TOKEN = /\{\{|\}\}|\{[^{}/]*\}|[{}/]|[^{}/]+/g;

function nameOf(pieces: readonly Piece[], valueOf: (field: string) => unknown): string {
  const values = pieces.map((piece) =>
    typeof piece === 'string' ? undefined : textOf(piece.field, valueOf(piece.field)),
  );
  const write = (room: readonly number[]): readonly string[] =>
    pieces.map((piece, at) => {
      if (typeof piece === 'string') return piece;
      const place = { isFirst: at === 0, isLast: at === pieces.length - 1 };
      return safeName(values[at] ?? '', place, room[at]);
    });
  const written = write([]);
  const name = written.join('');
  const fitting = bytesOf(name) <= MAX_NAME_BYTES ? name : write(roomFor(pieces, written)).join('');
  refuse(nameProblem(fitting));
  return fitting;
}

/** How many bytes each value of a name may have; what stands between them is not cut. */
function roomFor(pieces: readonly Piece[], written: readonly string[]): readonly number[] {
  const sizes = written.map((text, at) => (typeof pieces[at] === 'string' ? 0 : bytesOf(text)));
  const literal = bytesOf(written.join('')) - sizes.reduce((sum, size) => sum + size, 0);
  const room = shares(sizes, MAX_NAME_BYTES - literal);
  if (room.some((share, at) => share < Math.min(MIN_SHARE_BYTES, sizes[at] ?? 0))) {
    throw new TemplateError(`a name has more than ${String(MAX_NAME_BYTES)} bytes`);
  }
  return room;
}

function textOf(field: string, value: unknown): string {
  switch (typeof value) {
    case 'string':
      return value;
    case 'number':
    case 'boolean':
      return String(value);
    case 'undefined':
      throw new TemplateError(`the job has no field ${field}`);
    default:
      throw new TemplateError(
        value === null
          ? `the job's field ${field} is empty`
          : `the job's field ${field} is no text or number; name a member of it`,
      );
  }
}

function refuse(problem: string | undefined): void {
  if (problem !== undefined) throw new TemplateError(problem);
}
