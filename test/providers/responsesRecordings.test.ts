import { createHash } from 'node:crypto';
import { concat, lastValueFrom, of, throwError } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { InterruptedError } from '../../src/errors.js';
import { accumulate } from '../../src/operators/accumulate.js';
import { decode } from '../../src/operators/decode.js';
import { parseSSE } from '../../src/operators/parseSSE.js';
import { retryOnDisconnect } from '../../src/operators/retryOnDisconnect.js';
import { isRecord } from '../../src/protocol/errorBody.js';
import { openai, responsesDialect } from '../../src/providers/index.js';
import { collect } from '../../src/sinks/collect.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { startServer } from '../../src/testing/index.js';
import { decodeAll, type Decoded, ofType } from '../support/decodeAll.js';
import { wireEvents } from '../support/decodeEvents.js';
import { recorded, type Recording, recordings } from '../support/shared.js';

const all = recordings('responses');
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const EMPTY = sha256('');

/** The recording as a body; those that are stored without their framing get it here. */
function bodyOf(recording: Recording): Buffer {
  const bytes = recorded(recording);
  if (recording.storage === 'raw-sse') return bytes;
  const lines = bytes.toString().split('\n');
  return Buffer.from(lines.map((line) => (line === '' ? '' : `data: ${line}\n\n`)).join(''));
}

/** The events of the body, each with its end. */
function blocksOf(recording: Recording): readonly string[] {
  return bodyOf(recording)
    .toString()
    .split(/(?<=\n\n)/)
    .filter((block) => block.trim() !== '');
}

function framesOf(recording: Recording): readonly Readonly<Record<string, unknown>>[] {
  return wireEvents('sse', bodyOf(recording)).flatMap((event) =>
    event.type === 'event' ? [JSON.parse(event.data) as Readonly<Record<string, unknown>>] : [],
  );
}

function facts({ text, thinking, toolArguments, outcome }: Decoded): object {
  return { text: sha256(text), thinking: sha256(thinking), toolArguments: sha256(toolArguments), outcome };
}

function kinds(events: readonly unknown[]): string {
  return events.map((event) => JSON.stringify(event)).join('\n');
}

it.skipIf(all.length > 0)('has no recordings beside the project, and skips them', () => {
  expect(all).toStrictEqual([]);
});

describe.each(all)('$file', (recording) => {
  const bytes = bodyOf(recording);
  const whole = decodeAll(responsesDialect(), bytes);

  it('gives the recorded text, reasoning, tool arguments and outcome, and nothing anew', () => {
    expect(facts(whole)).toStrictEqual({
      text: recording.text_sha256,
      thinking: recording.reasoning_sha256 ?? EMPTY,
      toolArguments: recording.tool_args_sha256 ?? EMPTY,
      outcome: recording.outcome,
    });
    expect([...ofType(whole, 'restart'), ...ofType(whole, 'warning')]).toStrictEqual([]);
  });

  it('gives the same events however its bytes are cut', () => {
    let seed = 11;
    for (const most of [1, 5, 90, 4000]) {
      if (most === 1 && bytes.length > 60_000) continue;
      const cuts: number[] = [];
      for (let at = 0; at < bytes.length;) {
        seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
        at += 1 + (seed % most);
        if (at < bytes.length) cuts.push(at);
      }
      expect(kinds(decodeAll(responsesDialect(), bytes, { cuts }).events)).toBe(kinds(whole.events));
    }
  });

  it('lets every frame be seen: as an event of its own, or as raw', () => {
    const decoder = responsesDialect().decoder();
    for (const event of wireEvents('sse', bytes)) {
      let seen = 0;
      try {
        decoder.push(event, () => {
          seen += 1;
        });
      } catch {
        break; // the recorded failure
      }
      expect(seen).toBeGreaterThan(0);
    }
  });

  it('is interrupted wherever it is cut before its end', () => {
    const blocks = blocksOf(recording);
    const last = blocks.length - (recording.outcome === 'failed' ? 2 : 1);
    for (let count = 0; count < last; count += blocks.length > 300 ? 13 : 1) {
      for (const intact of [true, false]) {
        const { outcome } = decodeAll(responsesDialect(), blocks.slice(0, count).join(''), { intact });
        expect(outcome).toBe('interrupted');
      }
    }
  });

  it('errors with InterruptedError through decode, at bytes anywhere', async () => {
    const border = bytes.lastIndexOf(recording.outcome === 'failed' ? '"type":"error"' : 'response.completed');
    for (let cut = 1; cut < border; cut += Math.ceil(border / 17)) {
      const cutOff = concat(
        of(bytes.subarray(0, cut)),
        throwError(() => new InterruptedError('cut')),
      );
      await expect(lastValueFrom(cutOff.pipe(parseSSE(), decode(responsesDialect())))).rejects.toThrow(
        InterruptedError,
      );
    }
  });

  it.skipIf(recording.outcome === 'failed')('gives the items back as they were told whole', async () => {
    const message = await lastValueFrom(of(bytes).pipe(parseSSE(), decode(responsesDialect()), accumulate()));
    const frames = framesOf(recording);
    const completed = frames.at(-1)?.['response'];
    const output = isRecord(completed) ? (completed['output'] as readonly Record<string, unknown>[]) : [];
    const told = new Map(
      frames
        .filter(({ type }) => type === 'response.output_item.done')
        .map(({ item }) => item as Record<string, unknown>)
        .map((item) => [item['id'], item]),
    );
    const expected = output.map((item) => {
      const { status, ...rest } = told.get(item['id']) ?? item;
      return rest['type'] === 'reasoning' ? rest : { ...rest, ...(status === undefined ? undefined : { status }) };
    });
    expect(message.toRequest()).toStrictEqual(expected);
  });
});

const [first] = all.filter(({ file }) => file.endsWith('background-first.sse'));
const [resumed] = all.filter(({ file }) => file.endsWith('background-resumed.sse'));

describe.skipIf(first === undefined || resumed === undefined)('a background response over two connections', () => {
  const head = first === undefined ? [] : blocksOf(first);
  const tail = resumed === undefined ? [] : blocksOf(resumed);
  const numberOf = (block: string): number => Number(/"sequence_number":(\d+)/.exec(block)?.[1]);

  it.each(head.slice(0, -1).map((_, index) => index + 1))('has its text once when cut after %d events', async (cut) => {
    await using server = await startServer();
    const call = openai({ apiKey: 'k', baseURL: `${server.url}/v1` }).responses({
      model: 'm',
      input: 'q',
      background: true,
    });
    const answer = collect(fromCall(call).pipe(retryOnDisconnect({ count: 1, delay: { initialMs: 0 } })));
    const one = await server.accept();
    await one.write(head.slice(0, cut).join(''));
    one.halfClose();
    const two = await server.accept();
    const after = Number(two.request.query.get('starting_after'));
    expect(two.request).toMatchObject({
      method: 'GET',
      path: '/v1/responses/resp_0850765c843cca5300699cc47d93c0819089a181f5feeff8eb',
    });
    expect(two.request.query.get('stream')).toBe('true');
    expect(after).toBe(cut - 1);
    await two.end(tail.filter((block) => numberOf(block) > after).join(''));
    const { text, receipt } = await answer;
    expect(sha256(text)).toBe(first?.text_sha256);
    expect(receipt).toMatchObject({ outcome: 'complete', attempts: 2, restarts: 0, usage: { outputTokens: 9 } });
    expect(server.exchanges).toHaveLength(2); // nothing is cancelled
  });

  it('has its text once from a server that tells all of it again', async () => {
    await using server = await startServer();
    const call = openai({ apiKey: 'k', baseURL: server.url }).responses({ model: 'm', input: 'q', background: true });
    const answer = collect(fromCall(call).pipe(retryOnDisconnect({ count: 1, delay: { initialMs: 0 } })));
    const one = await server.accept();
    await one.write(head.slice(0, 9).join(''));
    one.reset();
    await (await server.accept()).end(head.join(''));
    expect(sha256((await answer).text)).toBe(first?.text_sha256);
  });

  it('is read whole, or after an event, by whoever knows its id', async () => {
    await using server = await startServer();
    const api = openai({ apiKey: 'k', baseURL: server.url });
    for (const after of [undefined, 7]) {
      const answer = collect(fromCall(api.attachResponse('resp_1', { after })));
      const { request, end } = await server.accept().then((exchange) => ({
        request: exchange.request,
        end: (text: string) => exchange.end(text),
      }));
      expect(request.query.get('starting_after')).toBe(after === undefined ? null : '7');
      await end(head.join('')); // also where the server begins at the beginning
      const { text, receipt } = await answer;
      const whole = decodeAll(responsesDialect(), head.join('')).text;
      const before = decodeAll(responsesDialect(), head.slice(0, 8).join('')).text;
      expect(text).toBe(after === undefined ? whole : whole.slice(before.length));
      expect(receipt).toMatchObject({ outcome: 'complete', restarts: 0 });
    }
  });
});
