import type { StreamEvent, Usage } from '../index.js';
import { printable, wrapText } from '../internal/textWidth.js';
import type { Colors } from './context.js';

/** Characters of an event that a line shows. */
const MAX_CHARS = 2_000;
/** The longest type is `tool-call-delta`. */
const TYPE_COLUMNS = 17;

/**
 * A stream event as a line for a person: its type, and what it holds; on a terminal as lines of its width.
 * @param columns - where lines are broken; `undefined` for never
 */
export function eventLine(event: StreamEvent, columns: number | undefined, colors: Colors): string {
  const whole = printable(contentOf(event).replace(/[\t\n]/g, ' '));
  const content =
    whole.length > MAX_CHARS
      ? `${whole.slice(0, MAX_CHARS)}… (${String(whole.length)} characters, --json shows all)`
      : whole;
  const lines = columns === undefined ? [content] : wrapText(content, Math.max(20, columns - TYPE_COLUMNS - 1));
  const [first = '', ...rest] = lines;
  const head = `${paint(event, colors)}${' '.repeat(TYPE_COLUMNS - event.type.length)}${first}`.trimEnd();
  return [head, ...rest.map((line) => `${' '.repeat(TYPE_COLUMNS)}${line}`.trimEnd())].join('\n');
}

function paint({ type }: StreamEvent, colors: Colors): string {
  switch (type) {
    case 'text':
    case 'output':
      return colors.bold(type);
    case 'warning':
    case 'restart':
      return colors.yellow(type);
    case 'finish':
      return colors.green(type);
    case 'heartbeat':
    case 'raw':
      return colors.dim(type);
    default:
      return colors.cyan(type);
  }
}

function contentOf(event: StreamEvent): string {
  switch (event.type) {
    case 'text':
    case 'refusal':
      return said([quoted(event.text), placeOf(event, 'output')]);
    case 'thinking':
      return said([quoted(event.text), placeOf(event, 'thinking')]);
    case 'tool-call-delta':
      return said([event.name, event.id, quoted(event.argumentsDelta)]);
    case 'tool-call':
      return said([event.name, event.id, event.argumentsText]);
    case 'tool-result':
      return said([event.name, event.id, event.isError === true ? 'failed' : undefined, json(event.result)]);
    case 'status':
      return said([event.status, event.id, event.terminal ? '(nothing follows it)' : undefined]);
    case 'progress':
      return said([
        `${String(event.current)}${event.total === undefined ? '' : `/${String(event.total)}`}`,
        event.message,
      ]);
    case 'log':
      return said([event.kind && `[${event.kind}]`, event.message]);
    case 'output':
      return said([event.final ? 'final' : 'so far', json(event.value)]);
    case 'media':
      return said([event.kind, json(event.content), placeOf(event, 'output')]);
    case 'usage':
      return usageWords(event);
    case 'warning':
      return `${event.code}: ${event.message}`;
    case 'heartbeat':
      return event.comment;
    case 'finish':
      return said([event.reason, event.rawReason === undefined ? undefined : `(${quoted(event.rawReason)})`]);
    case 'restart':
      return `${event.because}; ${String(event.discard.chars)} characters are void`;
    case 'raw':
      return said([event.event && `event ${event.event}`, json(event.frame)]);
  }
}

/** Counts in words; what was not told is left out. */
export function usageWords({
  inputTokens,
  outputTokens,
  totalTokens,
  reasoningTokens,
  cachedTokens,
  cost,
  provenance,
}: Usage): string {
  const counts = [
    [inputTokens, 'in'],
    [outputTokens, 'out'],
    [reasoningTokens, 'of reasoning'],
    [cachedTokens, 'cached'],
    [totalTokens, 'in all'],
  ] as const;
  const told = counts.flatMap(([count, what]) => (count === undefined ? [] : [`${String(count)} ${what}`]));
  if (cost?.total !== undefined) told.push(`cost ${String(cost.total)} ${cost.currency ?? ''}`.trim());
  if (provenance === 'partial') told.push('so far');
  return told.length === 0 ? 'unknown' : told.join(', ');
}

function said(parts: readonly (string | undefined)[]): string {
  return parts.filter((part) => part !== undefined && part !== '').join(' ');
}

function placeOf(
  { index, name }: { readonly index: number; readonly name: string },
  usual: string,
): string | undefined {
  if (index === 0 && name === usual) return undefined;
  return name === usual ? `[${String(index)}]` : `[${String(index)} ${name}]`;
}

function quoted(text: string): string {
  return JSON.stringify(text);
}

function json(value: unknown): string {
  return typeof value === 'string' ? quoted(value) : (JSON.stringify(value) ?? 'nothing');
}
