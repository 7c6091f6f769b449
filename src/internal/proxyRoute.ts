/** Which requests a proxy lets through: what is compared is decoded, and what was compared is what is sent. */

/** One segment of an allowed path: as it is, or what stands around the part that varies. */
type AllowedSegment = string | { readonly before: string; readonly after: string };

/** One line of the list. */
export interface AllowedPath {
  readonly method: string;
  readonly provider: string;
  readonly segments: readonly AllowedSegment[];
}

/** What may stand in a path as it is (RFC 3986, 3.3), and escapes. */
const SEGMENT = /^(?:[\w\-.~!$&'()*+,;=:@]|%[\da-f]{2})+$/i;
/** Decoded, these could end the segment, be decoded once more, be read as another character, or climb: `..`, and the `..;` of some servers. */
const UNSAFE = /^\.|[/\\%?#]|[^\x21-\x7e]/;
const METHODS: readonly string[] = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'];

/**
 * Reads a line such as `GET /infsh/tasks/{id}/stream`.
 * @throws TypeError for one that cannot be read, or whose provider is none of these
 */
export function readAllowed(line: string, providers: ReadonlySet<string>): AllowedPath {
  const [, method = '', provider = '', path = ''] = /^([A-Z]+) \/([\w-]+)(\/.*)?$/.exec(line) ?? [];
  if (!METHODS.includes(method)) {
    throw new TypeError(
      `Each line of allow must be a method and a path, such as 'POST /openai/chat/completions', got ${JSON.stringify(line)}`,
    );
  }
  if (!providers.has(provider)) {
    throw new TypeError(`allow names ${provider}, which is none of the providers (${[...providers].join(', ')})`);
  }
  const segments = path === '' ? [] : path.slice(1).split('/');
  return { method, provider, segments: segments.map((segment) => readSegment(segment, line)) };
}

function readSegment(segment: string, line: string): AllowedSegment {
  const varying = /^([^{}]*)\{\w+\}([^{}]*)$/.exec(segment);
  const [, before = segment, after = ''] = varying ?? [];
  const sample = varying === null ? segment : `${before}x${after}`;
  if (readPath(`/${sample}`)?.[0] !== sample) {
    throw new TypeError(
      `The path of ${JSON.stringify(line)} must be made of plain segments, with one {name} in each at most, which stands for a part of it that varies`,
    );
  }
  return varying === null ? segment : { before, after };
}

/** The decoded segments of a path; none where it is not one that can only be read in one way. */
export function readPath(path: string): readonly string[] | undefined {
  if (path === '') return [];
  if (!path.startsWith('/')) return undefined;
  const segments: string[] = [];
  for (const segment of path.slice(1).split('/')) {
    if (!SEGMENT.test(segment)) return undefined;
    try {
      segments.push(decodeURIComponent(segment));
    } catch {
      return undefined; // its escapes are no UTF-8
    }
  }
  return segments.some((segment) => UNSAFE.test(segment)) ? undefined : segments;
}

/** The path that is sent: its segments as they were compared, escaped only where they must be. */
export function writePath(segments: readonly string[]): string {
  return segments.map((segment) => `/${SEGMENT.test(segment) ? segment : encodeURIComponent(segment)}`).join('');
}

/** Whether a line of the list names this very request. */
export function isAllowed(
  allowed: readonly AllowedPath[],
  method: string,
  provider: string,
  segments: readonly string[],
): boolean {
  return allowed.some(
    (line) =>
      line.method === method &&
      line.provider === provider &&
      line.segments.length === segments.length &&
      line.segments.every((pattern, at) => fits(pattern, segments[at] ?? '')),
  );
}

/** What varies is one character or more, but no `:` and no `;`, behind which some servers read a verb or a parameter. */
function fits(pattern: AllowedSegment, segment: string): boolean {
  if (typeof pattern === 'string') return pattern === segment;
  const { before, after } = pattern;
  const end = segment.length - after.length;
  if (end <= before.length || !segment.startsWith(before) || !segment.endsWith(after)) return false;
  return !/[:;]/.test(segment.slice(before.length, end));
}
