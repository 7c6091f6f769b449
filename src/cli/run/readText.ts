import { constants, isUtf8 } from 'node:buffer';
import { UsageError } from '../exitCodes.js';

/** Text, or its bytes, whole or in pieces. */
export type TextSource = string | Uint8Array | AsyncIterable<string | Uint8Array>;

/**
 * All of a text, without its byte order mark.
 * @param name - of the file, for messages
 * @throws UsageError for a file that cannot be opened, bytes that are no UTF-8, with their place, and more than a string can hold (512 MiB)
 */
export async function readText(source: TextSource, name: string): Promise<string> {
  if (typeof source === 'string') return source.replace(/^\ufeff/, '');
  return decode(source instanceof Uint8Array ? source : await gather(source, name), name);
}

async function gather(source: AsyncIterable<string | Uint8Array>, name: string): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const piece of source) {
      const added = typeof piece === 'string' ? Buffer.from(piece) : piece;
      bytes += added.length;
      if (bytes > constants.MAX_STRING_LENGTH) {
        throw new UsageError(`${name}: is larger than ${String(constants.MAX_STRING_LENGTH)} bytes; split it`);
      }
      pieces.push(added);
    }
  } catch (error) {
    const reason = REASONS[String((error as { code?: unknown } | null)?.code)];
    throw reason === undefined ? error : new UsageError(`${name}: ${reason}`, { cause: error });
  }
  return Buffer.concat(pieces, bytes);
}

const REASONS: Readonly<Record<string, string | undefined>> = {
  ENOENT: 'there is no such file',
  EISDIR: 'is a folder',
  ENOTDIR: 'there is no such file',
  EACCES: 'may not be read',
  EPERM: 'may not be read',
};

function decode(bytes: Uint8Array, name: string): string {
  const [first, second] = bytes;
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) {
    throw new UsageError(`${name}:1: is UTF-16; save it as UTF-8`);
  }
  if (isUtf8(bytes)) return new TextDecoder().decode(bytes);
  // No byte of a longer character is a line feed's.
  for (let [line, start] = [1, 0]; start < bytes.length; line += 1) {
    const feed = bytes.indexOf(0x0a, start);
    const end = feed === -1 ? bytes.length : feed + 1;
    const part = bytes.subarray(start, end);
    if (!isUtf8(part)) throw new UsageError(`${name}:${String(line)}: is not UTF-8 ${placeIn(part)}; save it as UTF-8`);
    start = end;
  }
  throw new UsageError(`${name}: is not UTF-8; save it as UTF-8`);
}

/** Where the first wrong byte of a line is: a character that stands for it in a lenient reading, and does not stand there. */
function placeIn(line: Uint8Array): string {
  const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(line);
  for (let [at, bytes, from] = [text.indexOf(REPLACEMENT), 0, 0]; at !== -1; at = text.indexOf(REPLACEMENT, from)) {
    bytes += Buffer.byteLength(text.slice(from, at));
    const isMeant = line[bytes] === 0xef && line[bytes + 1] === 0xbf && line[bytes + 2] === 0xbd;
    if (!isMeant) return `in column ${String(at + 1)} (byte 0x${(line[bytes] ?? 0).toString(16)})`;
    bytes += 3;
    from = at + 1;
  }
  return '';
}

const REPLACEMENT = '\ufffd';
