/** A task's states by their numbers on the wire of inference.sh. */
const STATUSES: readonly string[] = [
  'unknown',
  'received',
  'queued',
  'dispatched',
  'preparing',
  'serving',
  'setting_up',
  'running',
  'cancelling',
  'uploading',
  'completed',
  'failed',
  'cancelled',
];
const TERMINAL: ReadonlySet<string> = new Set(['completed', 'failed', 'cancelled']);

/** A state of a task in words. */
export interface TaskStatus {
  readonly status: string;
  /** The number on the wire, where it was one. */
  readonly code?: number;
  /** True when nothing follows it. */
  readonly terminal: boolean;
}

/** Reads a status as inference.sh writes it: a number, or a word; `undefined` for what is neither. */
export function readTaskStatus(wire: unknown): TaskStatus | undefined {
  if (typeof wire === 'number') {
    const status = STATUSES[wire] ?? `status-${String(wire)}`;
    return { status, code: wire, terminal: TERMINAL.has(status) };
  }
  if (typeof wire !== 'string' || wire === '') return undefined;
  const status = wire === 'canceled' ? 'cancelled' : wire;
  return { status, terminal: TERMINAL.has(status) };
}
