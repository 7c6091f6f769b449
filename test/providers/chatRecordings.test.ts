import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { chatDialect } from '../../src/providers/chatDialect.js';
import type { StreamEvent } from '../../src/types.js';
import { decodeAll, type Decoded } from '../support/decodeAll.js';

const repository = fileURLToPath(new URL('../../', import.meta.url));
const folder = path.resolve(repository, '..', 'shared', 'recordings');
const index = path.join(folder, 'index.json');

interface Recording {
  readonly file: string;
  readonly format: string;
  readonly text_sha256: string;
  readonly reasoning_sha256: string | null;
  readonly tool_args_sha256: string | null;
  readonly outcome: string;
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const EMPTY = sha256('');

function facts({ text, thinking, toolArguments, outcome }: Decoded): object {
  return { text: sha256(text), thinking: sha256(thinking), toolArguments: sha256(toolArguments), outcome };
}

/** Joins pieces, so that what was cut differently compares equal; comments and raw frames stay apart. */
function kinds(events: readonly StreamEvent[]): string {
  return events.map((event) => JSON.stringify(event)).join('\n');
}

if (!existsSync(index)) {
  it('has no recordings beside the repository, and skips them', () => {
    expect(existsSync(index)).toBe(false);
  });
} else {
  const { recordings } = JSON.parse(readFileSync(index, 'utf8')) as { readonly recordings: readonly Recording[] };
  const chats = recordings.filter(({ format }) => format === 'chat' || format === 'completion');

  it('finds the recordings of the chat family', () => {
    expect(chats.length).toBeGreaterThanOrEqual(23);
  });

  describe.each(chats)('$file', (recording) => {
    const bytes = readFileSync(path.join(folder, recording.file));
    const whole = decodeAll(chatDialect(), bytes);

    it('gives the recorded text, reasoning, tool arguments and outcome', () => {
      expect(facts(whole)).toStrictEqual({
        text: recording.text_sha256,
        thinking: recording.reasoning_sha256 ?? EMPTY,
        toolArguments: recording.tool_args_sha256 ?? EMPTY,
        outcome: recording.outcome,
      });
    });

    it('gives the same events however its bytes are cut', () => {
      let seed = 7;
      for (const most of [3, 70, 1500]) {
        const cuts: number[] = [];
        for (let at = 0; at < bytes.length;) {
          seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
          at += 1 + (seed % most);
          if (at < bytes.length) cuts.push(at);
        }
        expect(kinds(decodeAll(chatDialect(), bytes, { cuts }).events)).toBe(kinds(whole.events));
      }
    });
  });

  it('repeats none of the 3 kB of search results that Perplexity sends on every frame', () => {
    const file = chats.find(({ file: name }) => name.startsWith('perplexity/sonar-citations'));
    if (file === undefined) return;
    const { events } = decodeAll(chatDialect(), readFileSync(path.join(folder, file.file)));
    expect(events.filter(({ type }) => type === 'raw').length).toBeLessThan(4);
  });
}
