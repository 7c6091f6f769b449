import type { LogEvent } from '../types.js';
import { isRecord } from './errorBody.js';
import { RecentMap } from './recentMap.js';

/** How many log lines are known by id at least; others are forgotten, and would count as new if sent again. Chosen. */
export const MAX_KNOWN_LOGS = 65_536;

/** What wrote a line, by `log_type`. */
const KINDS: readonly string[] = ['build', 'run', 'serve', 'setup', 'task'];

/**
 * Tells new log lines from those sent again, for the three forms in which inference.sh sends logs. Objects are known by id:
 * content that grew yields its new end, content that changed otherwise is told whole. Of a list of strings, what follows
 * its common beginning with the list before is new. A bare string is one new line.
 */
export class LogReader {
  readonly #byId: RecentMap<string, string> = new RecentMap(MAX_KNOWN_LOGS);
  #list: readonly string[] = [];
  #bare: string | undefined;

  /** @param named - false where the frame lists what changed and logs are not in the list */
  read(logs: unknown, named: boolean): LogEvent[] {
    if (typeof logs === 'string') return this.#readBare(logs, named);
    return Array.isArray(logs) ? this.#readList(logs) : [];
  }

  /** The server emptied its list: the next one is new from its start. Lines known by id stay known. */
  clear(): void {
    this.#list = [];
    this.#bare = undefined;
  }

  #readBare(message: string, named: boolean): LogEvent[] {
    if (message === '' || (!named && message === this.#bare)) return [];
    this.#bare = message;
    return [{ type: 'log', message }];
  }

  #readList(items: readonly unknown[]): LogEvent[] {
    const events: LogEvent[] = [];
    const list: string[] = [];
    let common = true;
    for (const item of items) {
      const line = describe(item);
      if (line.id !== undefined) {
        const news = this.#news(line.id, line.message);
        if (news !== undefined) events.push({ ...line, ...news });
        continue;
      }
      common &&= this.#list[list.length] === line.message;
      list.push(line.message);
      if (!common) events.push(line);
    }
    this.#list = list;
    return events;
  }

  #news(id: string, content: string): { message: string; continues?: true } | undefined {
    const known = this.#byId.get(id);
    if (known === content) return undefined;
    this.#byId.set(id, content);
    if (known === undefined || !content.startsWith(known)) return { message: content };
    return { message: content.slice(known.length), continues: true };
  }
}

function describe(item: unknown): LogEvent {
  if (typeof item === 'string') return { type: 'log', message: item };
  if (!isRecord(item)) return { type: 'log', message: JSON.stringify(item) };
  const { id, log_type: kind, content, created_at: at } = item;
  const name = typeof kind === 'number' ? (KINDS[kind] ?? String(kind)) : kind;
  return {
    type: 'log',
    message: typeof content === 'string' ? content : JSON.stringify(content ?? item),
    ...(typeof id === 'string' || typeof id === 'number' ? { id: String(id) } : undefined),
    ...(typeof name === 'string' ? { kind: name } : undefined),
    ...(typeof at === 'string' ? { at } : undefined),
  };
}
