import type { MediaEvent } from '../types.js';
import { isRecord } from './errorBody.js';

/** A file that a page can show. */
export interface MediaFile {
  /** `data:`, `http:` or `https:`. */
  readonly url: string;
  /** Such as `image/png`; `image/*` where only that much is known. */
  readonly mediaType: string;
}

type Fields = Readonly<Record<string, unknown>>;

/** How the base64 of an image begins. Audio comes in pieces, of which none is a file. */
const IMAGES: readonly (readonly [start: string, mediaType: string])[] = [
  ['iVBORw', 'image/png'],
  ['/9j/', 'image/jpeg'],
  ['R0lGOD', 'image/gif'],
  ['UklGR', 'image/webp'],
];
const TOP_LEVEL: ReadonlySet<string> = new Set(['image', 'audio', 'video']);

/** The file that a piece of media is, in whichever of its providers' forms; undefined where it has no address of its own. */
export function mediaFileOf({ kind, content }: Pick<MediaEvent, 'kind' | 'content'>): MediaFile | undefined {
  const fields: Fields = isRecord(content) ? content : { url: content };
  const said = firstText(fields, ['mimeType', 'mime_type', 'mediaType', 'media_type', 'content_type']);
  const mediaType = said ?? (kind.includes('/') ? kind : undefined);
  const { image_url: imageURL } = fields;
  const place =
    firstText(fields, ['url', 'uri', 'fileUri', 'file_uri', 'image_url', kind]) ??
    (isRecord(imageURL) ? firstText(imageURL, ['url']) : undefined);
  if (place !== undefined && /^https?:\/\//i.test(place)) {
    const known = mediaType ?? (TOP_LEVEL.has(kind) ? `${kind}/*` : undefined);
    return known === undefined ? undefined : { url: place, mediaType: known };
  }
  const told = place === undefined ? undefined : /^data:([^;,]+)/i.exec(place.slice(0, 256))?.[1];
  if (place !== undefined && told !== undefined) return { url: place, mediaType: told };
  const data = firstText(fields, ['data', 'b64_json']) ?? place;
  if (data === undefined || !/^[\w+/=-]+$/.test(data.slice(0, 64))) return undefined; // some other address
  const type = mediaType ?? IMAGES.find(([start]) => data.startsWith(start))?.[1];
  return type === undefined ? undefined : { url: `data:${type};base64,${data}`, mediaType: type };
}

function firstText(fields: Fields, keys: readonly string[]): string | undefined {
  for (const key of keys) {
    const value = fields[key];
    if (typeof value === 'string' && value !== '') return value;
  }
  return undefined;
}
