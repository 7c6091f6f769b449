import type { Transform } from 'node:stream';
import * as zlib from 'node:zlib';

/** Where decoded bytes go. `onEnd` and `onError` come once, after all data; nothing comes after `destroy`. */
export interface DecompressHandler {
  onData(chunk: Uint8Array): void;
  onEnd(): void;
  onError(kind: 'truncated' | 'corrupt', cause: unknown): void;
  /** It swells beyond what streams do: nothing more comes. */
  onExcess(bytesIn: number, bytesOut: number): void;
  /** There is room for input again. */
  onDrain(): void;
}

/** Undoes the content codings of one body. */
export interface Decompressor {
  /** False when it has enough input for now; `onDrain` follows. */
  write(chunk: Uint8Array): boolean;
  end(): void;
  pause(): void;
  resume(): void;
  destroy(): void;
}

// Not zstd, which Node has from 22.15: as of 22.23 and 24.9 its decoder takes a body that was cut anywhere for a whole one.
const coders: Readonly<Record<string, ((firstByte: number) => Transform) | undefined>> = {
  gzip: () => zlib.createGunzip(),
  'x-gzip': () => zlib.createGunzip(),
  // Both readings of "deflate" are on the wire: zlib-wrapped (RFC 9110, 8.4.1.2) and raw. The wrapper's first byte tells.
  deflate: (firstByte) => ((firstByte & 0x0f) === 8 ? zlib.createInflate() : zlib.createInflateRaw()),
  br: () => zlib.createBrotliDecompress(),
};

/** The codings that can be undone here. */
export const acceptEncoding = 'gzip, deflate, br';

/** More codings on one body than this are an attack, not a server (CVE-2026-22036). */
const MAX_CODINGS = 3;

/**
 * Reads a `content-encoding` header: the codings in the order they were applied, or what is wrong with it.
 */
export function readCodings(header: string | undefined): readonly string[] | { readonly refused: string } {
  const names = (header ?? '').toLowerCase().split(',');
  const codings = names.map((name) => name.trim()).filter((name) => name !== '' && name !== 'identity');
  if (codings.length > MAX_CODINGS) return { refused: `${String(codings.length)} content codings on one body` };
  const unknown = codings.find((name) => coders[name] === undefined);
  return unknown === undefined
    ? codings
    : { refused: `unknown content coding ${JSON.stringify(unknown.slice(0, 40))}` };
}

/**
 * Bytes that a body may decode to however small it was. A stream's beginning says little, and this much harms nobody; chosen.
 */
const FREE_BYTES = 4 * 1024 * 1024;

/**
 * Makes a decompressor for these codings; built at the first byte, since only that tells which deflate it is.
 * @param maxRatio - of decoded bytes to received ones; looked at beyond the first 4 MiB
 */
export function decompress(codings: readonly string[], maxRatio: number, handler: DecompressHandler): Decompressor {
  let bytesIn = 0;
  let bytesOut = 0;
  let stages: Transform[] = [];
  let over = false;
  let paused = false;

  const finish = (report: () => void): void => {
    if (over) return;
    over = true;
    report();
  };
  const build = (firstByte: number): void => {
    // The coding that was applied last is undone first.
    stages = [...codings].reverse().map((name) => (coders[name] as (byte: number) => Transform)(firstByte));
    stages.forEach((stage, i) => {
      stage.on('error', (error: Error & { code?: string }) => {
        const kind = error.code === 'Z_BUF_ERROR' ? 'truncated' : 'corrupt';
        finish(() => {
          handler.onError(kind, error);
        });
      });
      const next = stages[i + 1];
      if (next !== undefined) stage.pipe(next);
    });
    const [first, last] = [stages[0], stages.at(-1)];
    first?.on('drain', () => {
      if (!over) handler.onDrain();
    });
    last?.on('data', (chunk: Uint8Array) => {
      if (over) return;
      bytesOut += chunk.length;
      if (bytesOut > FREE_BYTES && bytesOut > maxRatio * bytesIn) {
        finish(() => {
          handler.onExcess(bytesIn, bytesOut);
        });
      } else handler.onData(chunk);
    });
    last?.on('end', () => {
      finish(() => {
        handler.onEnd();
      });
    });
    if (paused) last?.pause();
  };

  return {
    write: (chunk) => {
      if (stages.length === 0) build(chunk[0] ?? 0);
      bytesIn += chunk.length;
      return stages[0]?.write(chunk) ?? true;
    },
    end: () => {
      const [first] = stages;
      // A coded body of no bytes at all is an empty body, as for a 204.
      if (first === undefined) {
        finish(() => {
          handler.onEnd();
        });
      } else first.end();
    },
    pause: () => {
      paused = true;
      stages.at(-1)?.pause();
    },
    resume: () => {
      paused = false;
      stages.at(-1)?.resume();
    },
    destroy: () => {
      over = true;
      for (const stage of stages) stage.destroy();
    },
  };
}
