import { asyncScheduler } from 'rxjs';
import type { StreamsFailedError } from '../../../errors.js';
import type { Receipt, StreamEvent } from '../../../types.js';
import type { Flow } from '../../flow.js';
import { hasCode } from '../../hasCode.js';
import type { ShownSink, TerminalView, ViewSettings } from '../../terminalView.js';
import { endingOf, type RowEnding } from './endings.js';
import type { Screen } from './screen.js';
import { type Connection, StreamRow } from './streamRow.js';

/** A stream of several, which its items name. */
interface Keyed {
  readonly row: StreamRow;
  /** What delivers it, where that is known. */
  flow: Flow | undefined;
}

/** The rows of one sink: one of its own or, where items have keys, one for each key. */
export class StreamsView implements TerminalView {
  readonly #sink: ShownSink;
  readonly #settings: ViewSettings;
  readonly #screen: Screen;
  readonly #keyed: Map<string, Keyed> = new Map();
  #own: StreamRow | undefined;
  #hasKeys = false;
  #isOver = false;
  readonly #startedAt: number;
  /** Text of rows that have gone. */
  #charsBefore = 0;
  /** The flow of the sink's own row that was seen last. */
  #last: Flow | undefined;

  constructor(sink: ShownSink, settings: ViewSettings, screen: Screen) {
    this.#sink = sink;
    this.#settings = settings;
    this.#screen = screen;
    this.#startedAt = settings.scheduler.now();
    screen.setMore(() => (this.#hasKeys ? this.#unheard() : []));
  }

  get chars(): number {
    const rows = [...this.#keyed.values()].map(({ row }) => row);
    return [...rows, ...(this.#own === undefined ? [] : [this.#own])].reduce(
      (sum, { chars }) => sum + chars,
      this.#charsBefore,
    );
  }

  begin(): void {
    if (!this.#isOver && !this.#hasKeys) this.#ownRow();
  }

  take(item: StreamEvent | string): void {
    const key = keyOf(item);
    if (key === undefined) this.#last = this.#sink.scope.current() ?? this.#last;
    const row = key === undefined ? this.#ownRow() : this.#keyedRow(key);
    for (const news of row.take(item, this.#settings.scheduler.now())) this.#screen.tell(row, news);
    if (key !== undefined && isEnd(item))
      this.#endKeyed(key, { outcome: 'complete', finish: row.finish, usage: row.usage });
  }

  onDrain(): void {
    this.#screen.onDrain();
  }

  end(receipt: Receipt, error: unknown, written: () => void): void {
    this.#isOver = true;
    if (this.#hasKeys) this.#endAll(receipt, error);
    // Items without a key, among others.
    if (!this.#hasKeys || this.#own?.hasItems === true) this.#endOwn(endingOf(receipt));
    this.#screen.leave(written);
  }

  abandon(): void {
    this.#screen.abandon();
  }

  #ownRow(): StreamRow {
    if (this.#own !== undefined) return this.#own;
    const name = (): string => this.#settings.key ?? this.#providerName();
    this.#own = this.#addRow(name, this.#startedAt, () => connectionOf(this.#flowNow()));
    return this.#own;
  }

  #endOwn(ending: RowEnding): void {
    const row = this.#ownRow();
    this.#own = undefined;
    this.#charsBefore += row.chars;
    this.#screen.remove(row, ending);
  }

  #keyedRow(key: string): StreamRow {
    const { scope } = this.#sink;
    const flow = scope.current();
    // One that is only known, and has not delivered here, may be another stream's.
    const heard = flow !== undefined && scope.hasHeard(flow) ? flow : undefined;
    const keyed = this.#keyed.get(key) ?? this.#addKeyed(key, heard);
    keyed.flow = heard ?? keyed.flow;
    return keyed.row;
  }

  #addKeyed(key: string, flow: Flow | undefined): Keyed {
    // The sink's own row stood for them all while nothing had come.
    if (this.#own?.hasItems === false) {
      this.#screen.remove(this.#own, undefined);
      this.#own = undefined;
    }
    this.#hasKeys = true;
    const { key: ownKey, scheduler } = this.#settings;
    // It may have been under way for long before its first item told its name.
    const startedAt = flow === undefined ? this.#startedAt : scheduler.now() - (asyncScheduler.now() - flow.startedAt);
    const name = ownKey === undefined ? key : `${ownKey}/${key}`;
    const connection = (): Connection | undefined => {
      const known = connectionOf(this.#keyed.get(key)?.flow);
      return known === 'retrying' ? 'failed' : known; // it may have been its last attempt
    };
    const row = this.#addRow(() => name, startedAt, connection);
    const keyed = { row, flow };
    this.#keyed.set(key, keyed);
    return keyed;
  }

  #addRow(name: () => string, startedAt: number, connection: () => Connection | undefined): StreamRow {
    const { index, name: output } = this.#settings;
    const row = new StreamRow(name, this.#screen.nextHue(), startedAt, { index, name: output }, connection);
    this.#screen.add(row);
    return row;
  }

  #endKeyed(key: string, ending: RowEnding): void {
    const row = this.#keyed.get(key)?.row;
    if (row === undefined) return;
    this.#keyed.delete(key);
    this.#charsBefore += row.chars;
    this.#screen.remove(row, ending);
  }

  /** The streams that have no end of their own by now. */
  #endAll(receipt: Receipt, error: unknown): void {
    const failures = failuresOf(error);
    for (const [key, reason] of failures ?? []) {
      const { usage } = this.#keyedRow(key);
      this.#endKeyed(key, { outcome: 'failed', message: messageOf(reason), usage });
    }
    const { outcome, by, billing, error: reported } = receipt;
    const culprits = [...this.#keyed].filter(([, { flow }]) => flow !== undefined && hasFailed(flow));
    const isKnown = failures !== undefined || culprits.length === 1;
    // The receipt is of all of them together.
    const failure = { ...endingOf(receipt), usage: undefined, attempts: undefined };
    for (const [key, { row, flow }] of [...this.#keyed]) {
      const { usage, finish } = row;
      if (outcome !== 'stopped' && flow !== undefined && hasFailed(flow)) {
        const isReported = reported !== undefined && failures === undefined && isKnown;
        this.#endKeyed(key, isReported ? { ...failure, usage } : { outcome: 'failed', usage });
      } else if (outcome === 'complete') this.#endKeyed(key, { outcome, finish, usage });
      else this.#endKeyed(key, { outcome: 'stopped', by, billing, usage });
    }
    if (reported !== undefined && !isKnown) this.#endOwn(failure);
  }

  /** The states of streams that have told nothing yet, not even their name. */
  #unheard(): readonly string[] {
    const { scope } = this.#sink;
    const flows = this.#openFlows().filter((flow) => !scope.hasHeard(flow));
    return flows.map((flow) => connectionOf(flow) ?? 'waiting');
  }

  /** What a stream without a name is called. */
  #providerName(): string {
    const flows = this.#openFlows();
    const last = flows.at(-1)?.facts.provider ?? this.#last?.facts.provider;
    return flows.some(({ facts }) => facts.provider !== last) ? 'streams' : (last ?? 'stream');
  }

  /** The flow that was begun last, or ended last. */
  #flowNow(): Flow | undefined {
    this.#last = this.#openFlows().at(-1) ?? this.#last;
    return this.#last;
  }

  #openFlows(): readonly Flow[] {
    return [...this.#sink.scope.flows].filter(({ facts }) => facts.isMarker !== true);
  }
}

function connectionOf(flow: Flow | undefined): Connection | undefined {
  if (flow === undefined) return undefined;
  if (flow.state !== 'open') return flow.state === 'complete' ? undefined : 'retrying';
  if (flow.paused) return 'paused';
  if (flow.lastContentAt !== undefined) return 'streaming';
  return flow.headersAt === undefined ? 'connecting' : 'waiting';
}

/** It failed, or was given up by an operator that lost patience with it. */
function hasFailed({ state, left, proven }: Flow): boolean {
  return !proven && (state === 'error' || (state === 'left' && left?.verb === 'disconnect'));
}

function keyOf(item: StreamEvent | string): string | undefined {
  return typeof item === 'object' && 'key' in item && typeof item.key === 'string' ? item.key : undefined;
}

function isEnd(item: StreamEvent | string): boolean {
  return typeof item === 'object' && item.type === 'finish';
}

/** What each of several streams failed with. */
function failuresOf(error: unknown): ReadonlyMap<string, unknown> | undefined {
  return hasCode(error, 'ERR_STREAMS_FAILED') ? (error as StreamsFailedError).errors : undefined;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
