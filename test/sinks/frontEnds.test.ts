import type { ServerResponse } from 'node:http';
import OpenAI from 'openai';
import type { Browser } from 'playwright-core';
import { tap } from 'rxjs';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { infernet, openai } from '../../src/providers/index.js';
import { toNodeResponse } from '../../src/sinks/toNodeResponse.js';
import { fromCall } from '../../src/sources/fromCall.js';
import { fakeCall } from '../../src/testing/fakeCall.js';
import { startProviderServer, type ProviderServer } from '../../src/testing/startProviderServer.js';
import type { Receipt, StreamEvent } from '../../src/types.js';
import { bundlePage, describeInChromium, launchChromium, openPage, servePage } from '../support/chromium.js';
import { serveNode } from '../support/webServer.js';

const text = (piece: string): StreamEvent => ({ type: 'text', text: piece, index: 0, name: 'output' });
const MESSAGES = [{ role: 'user' as const, content: 'Tell me of rivers.' }];

describe('the client of OpenAI, behind toNodeResponse,', () => {
  /** A route that asks the provider server, as a backend asks OpenAI. */
  async function proxied(): Promise<{ server: ProviderServer; client: OpenAI; receipts: Receipt[] }> {
    const server = await startProviderServer();
    onTestFinished(() => server.close());
    const api = openai({ apiKey: 'any', baseURL: server.baseURLs.openai });
    const receipts: Receipt[] = [];
    const { url } = await serveNode((req, res) => {
      req.resume();
      fromCall(api.chat({ model: 'm', messages: MESSAGES }))
        .pipe(toNodeResponse(res, { format: 'openai' }))
        .subscribe({
          next: (receipt) => receipts.push(receipt),
          error: (error: unknown) => receipts.push((error as { receipt: Receipt }).receipt),
        });
    });
    return { server, client: new OpenAI({ apiKey: 'reader', baseURL: `${url}/v1`, logLevel: 'off' }), receipts };
  }

  const ask = (client: OpenAI, options: OpenAI.RequestOptions = {}) =>
    client.chat.completions.create({ model: 'any', messages: MESSAGES, stream: true }, options);

  it('reads the answer, its finish and its tool call', async () => {
    const { server, client } = await proxied();
    server.next({ pieces: ['The mill ', 'turns 🌊.'] });
    let answer = '';
    let finish: string | null | undefined;
    for await (const { choices } of await ask(client)) {
      answer += choices[0]?.delta.content ?? '';
      finish = choices[0]?.finish_reason ?? finish;
    }
    expect([answer, finish]).toStrictEqual(['The mill turns 🌊.', 'stop']);
    server.next({ toolCall: { name: 'look', arguments: { at: 'river' } } });
    const message = await client.chat.completions.stream({ model: 'any', messages: MESSAGES }).finalMessage();
    expect(message.tool_calls).toMatchObject([{ function: { name: 'look', arguments: '{"at":"river"}' } }]);
  });

  it('reads thousands of tokens, all of them', async () => {
    const { server, client } = await proxied();
    const pieces = Array.from({ length: 3_000 }, (_, at) => `${String(at)}\n`);
    server.next({ pieces });
    let answer = '';
    for await (const { choices } of await ask(client)) answer += choices[0]?.delta.content ?? '';
    expect(answer).toBe(pieces.join(''));
  });

  it('is told of a 429, and asks again when it is told to', async () => {
    const { server, client, receipts } = await proxied();
    server.next({ status: 429, headers: { 'retry-after': '9' } });
    const refused = await ask(client, { maxRetries: 0 }).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(OpenAI.RateLimitError);
    expect((refused as InstanceType<typeof OpenAI.RateLimitError>).headers?.get('retry-after')).toBe('9');
    server.next({ status: 429, headers: { 'retry-after-ms': '1' } });
    server.next({ text: 'At last.' });
    let answer = '';
    for await (const { choices } of await ask(client)) answer += choices[0]?.delta.content ?? '';
    expect(answer).toBe('At last.');
    expect(server.requests).toHaveLength(3);
    expect(receipts.map(({ outcome }) => outcome)).toStrictEqual(['failed', 'failed', 'complete']);
  });

  it('does not ask again where our own key is refused', async () => {
    const { server, client } = await proxied();
    server.next({ status: 401 });
    await expect(ask(client)).rejects.toThrow(OpenAI.InternalServerError);
    expect(server.requests).toHaveLength(1);
  });

  it('throws where the answer is cut, and never takes half of it for the whole', async () => {
    const { server, client } = await proxied();
    server.next({ pieces: ['one ', 'two ', 'three '], fault: { kind: 'reset', at: { frame: 2 } } });
    let answer = '';
    const reading = (async () => {
      for await (const { choices } of await ask(client)) answer += choices[0]?.delta.content ?? '';
    })();
    await expect(reading).rejects.toThrow(OpenAI.APIError);
    expect(answer).toMatch(/^one /);
  });

  it('stops the upstream when it breaks out of its loop', async () => {
    const { server, client, receipts } = await proxied();
    server.next({ pieces: ['one ', 'two '], fault: { kind: 'stall', at: { frame: 2 } } });
    for await (const { choices } of await ask(client)) if (choices[0]?.delta.content) break;
    expect(await (await server.nextRequest()).ended).toBe('client');
    expect(receipts).toMatchObject([{ outcome: 'stopped', by: 'reader' }]);
  });
});

/** The program of a page with `useChat`, as the documentation of the AI SDK has it. */
const CHAT_PAGE = `
  import { createRoot } from 'react-dom/client';
  import { useChat } from '@ai-sdk/react';
  import { DefaultChatTransport } from 'ai';

  function Chat() {
    const { messages, sendMessage, status, error, stop } = useChat({ transport: new DefaultChatTransport({ api: '/chat' }) });
    const show = (part, at) =>
      part.type === 'text' ? <p key={at} className="text" data-state={part.state}>{part.text}</p>
      : part.type === 'reasoning' ? <p key={at} className="thinking">{part.text}</p>
      : part.type === 'dynamic-tool' || part.type.startsWith('tool-') ? <p key={at} className="tool" data-state={part.state}>{(part.toolName ?? part.type.slice(5)) + ' ' + JSON.stringify(part.input)}</p>
      : null;
    return (
      <main data-status={status} data-error={error?.message}>
        <button onClick={() => sendMessage({ text: 'Hi' })}>Send</button>
        <button onClick={stop}>Stop</button>
        {messages.filter(({ role }) => role === 'assistant').map((message) => <div key={message.id}>{message.parts.map(show)}</div>)}
      </main>
    );
  }
  createRoot(document.body).render(<Chat />);
`;

/** A page that reads a route as any page does, and keeps what it hears. */
const EVENTS_PAGE = `
  window.heard = [];
  window.opened = 0;
  const source = new EventSource('/events');
  source.onopen = () => { window.opened += 1; };
  source.onmessage = ({ data, lastEventId }) => { window.heard.push({ ...JSON.parse(data), lastEventId }); };
  source.onerror = () => { window.state = source.readyState; };
`;

interface EventsPage {
  readonly heard: (StreamEvent & { readonly lastEventId: string })[];
  readonly opened: number;
  readonly state: number;
}

/** Lets an EventSource come back sooner than after its three seconds. */
function quicken(res: ServerResponse): void {
  const write = res.write.bind(res);
  res.write = (piece: unknown) => {
    res.write = write;
    write('retry: 20\n\n');
    return write(piece);
  };
}

describeInChromium('a page, behind toNodeResponse,', () => {
  let browser: Browser;
  let chat: string;
  beforeAll(async () => {
    browser = await launchChromium();
    chat = await bundlePage(CHAT_PAGE);
  });
  afterAll(() => browser.close());

  it('shows text, thinking and a tool call by useChat of the AI SDK, while they come', async () => {
    const events: ((event: StreamEvent) => void)[] = [];
    const server = await servePage({
      script: chat,
      routes: (req, res) => {
        if (req.url !== '/chat') return false;
        req.resume();
        fromCall(fakeCall(spoken((say) => events.push(say))))
          .pipe(toNodeResponse(res, { format: 'ai-sdk' }))
          .subscribe();
        return true;
      },
    });
    onTestFinished(() => server.close());
    const page = await openPage(browser, server.url);
    await page.click('text=Send');
    await page.waitForSelector('main[data-status=submitted]');
    await expect.poll(() => events.length).toBe(1);
    const say = events[0]!;
    say({ type: 'thinking', text: 'They want a greeting.', index: 0, name: 'thinking' });
    await page.waitForSelector('.thinking:text("They want a greeting.")');
    await page.waitForSelector('main[data-status=streaming]');
    say(text('Hello, '));
    await page.waitForSelector('.text[data-state=streaming]:text("Hello,")');
    say(text('<b>world</b>.'));
    await page.waitForFunction(() => document.querySelector('.text')?.textContent === 'Hello, <b>world</b>.');
    const call = { index: 0, id: 'call-1', name: 'look' };
    say({ type: 'tool-call-delta', ...call, argumentsDelta: '{"at":' });
    await page.waitForSelector('.tool[data-state=input-streaming]');
    say({ type: 'tool-call-delta', ...call, argumentsDelta: '"river"}' });
    say({ type: 'tool-call', ...call, arguments: { at: 'river' }, argumentsText: '{"at":"river"}' });
    await page.waitForSelector('.tool[data-state=input-available]');
    expect(await page.textContent('.tool')).toBe('look {"at":"river"}');
    say({ type: 'finish', reason: 'tool-calls' });
    await page.waitForSelector('main[data-status=ready]');
    expect(await page.getAttribute('main', 'data-error')).toBeNull();
  });

  it('shows a failure by useChat, before the first word and behind it, and stops the upstream by its stop', async () => {
    await using upstream = await startProviderServer();
    const api = openai({ apiKey: 'any', baseURL: upstream.baseURLs.openai });
    const server = await servePage({
      script: chat,
      routes: (req, res) => {
        if (req.url !== '/chat') return false;
        req.resume();
        fromCall(api.chat({ model: 'm', messages: MESSAGES }))
          .pipe(toNodeResponse(res, { format: 'ai-sdk' }))
          .subscribe({ error: () => undefined });
        return true;
      },
    });
    onTestFinished(() => server.close());
    const page = await openPage(browser, server.url, { expectedErrors: [/status of 429/, /The service|interrupted/] });
    upstream.next({ status: 429 });
    await page.click('text=Send');
    await page.waitForSelector('main[data-status=error][data-error*="asked too much"]');
    upstream.next({ pieces: ['one ', 'two '], fault: { kind: 'reset', at: { frame: 3 } } });
    await page.click('text=Send');
    await page.waitForSelector('main[data-status=error][data-error="The answer was interrupted"]');
    expect(await page.textContent('.text')).toMatch(/^one /);
    upstream.next({ pieces: ['three ', 'four '], fault: { kind: 'stall', at: { frame: 3 } } });
    await page.click('text=Send');
    await page.waitForSelector('.text:text("three")');
    await page.click('text=Stop');
    await page.waitForSelector('main[data-status=ready]');
    const requests = [await upstream.nextRequest(), await upstream.nextRequest(), await upstream.nextRequest()];
    expect(await requests[2]!.ended).toBe('client');
  });

  it('reads an answer by EventSource, comes back to it by itself, and never asks for it again', async () => {
    await using upstream = await startProviderServer();
    const api = infernet({ apiKey: 'any', baseURL: upstream.baseURLs.infernet });
    const pieces = Array.from({ length: 40 }, (_, at) => `word${String(at)} `);
    upstream.next({ pieces, pace: { perFrameMs: 5 } });
    const id = await new Promise<string>((resolve) => {
      const job = fromCall(api.chat({ model: 'm', messages: MESSAGES }), { onUnsubscribe: 'leave' }).subscribe(
        (event) => {
          if (event.type !== 'status' || event.id === undefined) return;
          resolve(event.id);
          queueMicrotask(() => {
            job.unsubscribe();
          });
        },
      );
    });
    const ids: (string | undefined)[] = [];
    const receipts: Receipt[] = [];
    const server = await servePage({
      script: EVENTS_PAGE,
      routes: (req, res) => {
        if (req.url !== '/events') return false;
        ids.push(req.headers['last-event-id'] as string | undefined);
        quicken(res);
        let told = 0;
        fromCall(api.attach(id))
          .pipe(
            // The first two connections are lost on the way.
            tap(({ type }) => {
              if (type === 'text') told += 1;
              if (type === 'text' && told === [10, 25][ids.length - 1]) setImmediate(() => res.destroy());
            }),
            toNodeResponse(res),
          )
          .subscribe((receipt) => receipts.push(receipt));
        return true;
      },
    });
    onTestFinished(() => server.close());
    const page = await openPage(browser, server.url, { expectedErrors: [/net::ERR/] });
    // 2: closed for good.
    await page.waitForFunction(() => (window as unknown as EventsPage).state === 2);
    const { heard, opened } = await page.evaluate(() => {
      const { heard, opened, state } = window as unknown as EventsPage;
      return { heard, opened, state };
    });
    const words = heard.map((event) => (event.type === 'text' ? event.text : '')).join('');
    expect(words).toBe(pieces.join(''));
    expect(heard.map(({ type }) => type)).not.toContain('restart');
    expect(heard.filter(({ type }) => type === 'finish')).toHaveLength(1);
    expect(heard.at(-1)).toMatchObject({
      type: 'end',
      outcome: 'complete',
      lastEventId: expect.stringMatching(/-end$/),
    });
    // Three that were opened; the last asked with the id of the end, and was answered 204.
    expect(opened).toBe(3);
    expect(ids).toHaveLength(4);
    expect(ids[0]).toBeUndefined();
    expect(ids.at(-1)).toBe(heard.at(-1)!.lastEventId);
    expect(receipts.map(({ outcome, skipped = false }) => [outcome, skipped])).toStrictEqual([
      ['stopped', false],
      ['stopped', false],
      ['complete', false],
      ['complete', true],
    ]);
  });
});

/** Events that are said one by one, from outside. */
function spoken(onAsk: (say: (event: StreamEvent) => void) => void): AsyncIterable<StreamEvent> {
  const waiting: StreamEvent[] = [];
  let wake: (() => void) | undefined;
  return {
    async *[Symbol.asyncIterator]() {
      onAsk((event) => {
        waiting.push(event);
        wake?.();
      });
      for (;;) {
        const event = waiting.shift();
        if (event !== undefined) yield event;
        else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
    },
  };
}
