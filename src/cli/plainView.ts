import { performance } from 'node:perf_hooks';
import type { Output } from './context.js';
import type { DemoStream, DemoView } from './demoView.js';
import { LineGatherer } from './lineGatherer.js';
import type { Receipt, StreamEvent } from '../index.js';
import { printable } from '../internal/textWidth.js';

/** Shows streams in a log: whole sentences, each with its time and its stream. No colours, nothing redrawn. */
export function plainView(output: Output, streams: readonly DemoStream[]): DemoView {
  const startedAt = performance.now();
  const nameWidth = Math.max(...streams.map(({ name }) => name.length));
  const lines = new Map(streams.map(({ name }) => [name, new StreamLines()]));
  const print = (name: string, texts: readonly string[]): void => {
    const time = `${((performance.now() - startedAt) / 1000).toFixed(2)} s`;
    for (const text of texts) output.write(`${time.padStart(8)}  ${name.padEnd(nameWidth)}  ${printable(text)}\n`);
  };
  for (const { name, about } of streams) print(name, [`(${about})`]);
  return {
    show: (name, event) => {
      print(name, lines.get(name)?.take(event) ?? []);
    },
    note: (name, text) => {
      print(name, [...(lines.get(name)?.flush() ?? []), `-- ${text}`]);
    },
    end: (name, receipt) => {
      print(name, [...(lines.get(name)?.flush() ?? []), `=> ${endOf(receipt)}`]);
    },
    close: () => {
      for (const [name, rest] of lines) print(name, rest.flush());
    },
  };
}

function endOf({ outcome, finish, error, chars }: Receipt): string {
  const why = finish?.reason ?? error?.message;
  return `${outcome}, ${String(chars)} characters${why === undefined ? '' : `: ${why}`}`;
}

type Channel = 'text' | 'thinking' | 'status';

/** The lines of one stream; a channel's line ends where another one begins. */
class StreamLines {
  #channel: Channel = 'text';
  #gatherer = new LineGatherer();
  #states: string[] = [];

  take(event: StreamEvent): string[] {
    switch (event.type) {
      case 'text':
      case 'thinking':
        return [...this.#turnTo(event.type), ...this.#label(this.#gatherer.push(event.text))];
      case 'status': {
        const before = this.#turnTo('status');
        if (this.#states.at(-1) !== event.status) this.#states.push(event.status);
        return before;
      }
      case 'log':
        return [...this.flush(), `log: ${event.message}`];
      case 'progress':
        return [`progress: ${String(event.current)}${event.total === undefined ? '' : ` of ${String(event.total)}`}`];
      default:
        return [];
    }
  }

  flush(): string[] {
    const lines = this.#label(this.#gatherer.flush());
    if (this.#states.length > 0) lines.push(`status: ${this.#states.join(', ')}`);
    this.#states = [];
    return lines;
  }

  #turnTo(channel: Channel): string[] {
    if (channel === this.#channel) return [];
    const lines = this.flush();
    this.#channel = channel;
    return lines;
  }

  #label(lines: readonly string[]): string[] {
    return lines.map((line) => (this.#channel === 'thinking' ? `thinks: ${line}` : line));
  }
}
