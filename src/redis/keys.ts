/** The keys of one stream. All have the lane's hash tag, so that a cluster keeps them together. */
export interface StreamKeys {
  readonly lane: number;
  /** The stream's name in its keys and in the lane's news. */
  readonly name: string;
  /** A Redis stream: the entries. */
  readonly entries: string;
  /** A hash: whose the lease is, until when, and what was noted. */
  readonly lease: string;
  /** A sorted set, where a writer wants to know: who reads the stream, and until when that counts, or when they left. */
  readonly readers: string;
}

/** What a lane's news come by: one XREAD over any number of its streams. */
export interface LaneKeys {
  /** A Redis stream of the names of streams that somebody has let go of or taken over. */
  readonly news: string;
  /** A Redis stream that belongs to one store: what is added there ends its XREAD. */
  readonly wake: string;
}

/** How the keys of a store are named. */
export interface KeyNames {
  of(id: string): StreamKeys;
  lane(lane: number): LaneKeys;
}

/** @param owner - of the characters of a UUID */
export function keyNames(prefix: string, lanes: number, owner: string): KeyNames {
  const tag = (lane: number): string => `{${prefix}:${String(lane)}}`;
  return {
    of: (id) => {
      const lane = hash(id) % lanes;
      const key = (kind: string): string => `${tag(lane)}:${kind}:${id}`;
      return { lane, name: id, entries: key('e'), lease: key('l'), readers: key('r') };
    },
    lane: (lane) => ({ news: `${tag(lane)}:news`, wake: `${tag(lane)}:wake:${owner}` }),
  };
}

/** FNV-1a over the text's code units: the same on every machine. */
function hash(text: string): number {
  let sum = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) sum = Math.imul(sum ^ text.charCodeAt(at), 0x01000193);
  return sum >>> 0;
}
