import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { startProviderServer } from 'millrace/testing';
import { bundlePage, describeInChromium, launchChromium, openPage, servePage } from '../support/chromium.js';
import { Answering, type PageRequest } from './answering.js';

const CUT = /net::ERR_INCOMPLETE_CHUNKED_ENCODING/;

describeInChromium('useChat', () => {
  let browser: Browser;
  let script: string;
  beforeAll(async () => {
    browser = await launchChromium();
    script = await bundlePage(`import { runChatPage } from './test/react/chatPage.tsx'; runChatPage();`);
  });
  afterAll(() => browser.close());

  async function open(
    kind: Parameters<Window['chat']['show']>[0],
    props: Parameters<Window['chat']['show']>[1] = {},
    expectedErrors: readonly RegExp[] = [],
  ) {
    const answers = new Answering();
    const server = await servePage({ script, routes: answers.routes });
    onTestFinished(() => server.close());
    const page = await openPage(browser, server.url, { expectedErrors });
    await page.waitForFunction(() => 'chat' in window);
    const show = async (more: typeof props = {}): Promise<void> => {
      await page.evaluate(
        ([kind, props]) => {
          window.chat.show(kind, props);
        },
        [kind, { ...props, ...more }] as const,
      );
      await page.waitForSelector('ol', { state: 'attached' });
    };
    await show();
    return { page, answers, show };
  }

  it('shows questions and answers, and sends the whole conversation', async () => {
    const { page, answers } = await open('plain', { strict: true });
    await phase(page, 'idle');
    await send(page, 'Hi', 'mills');
    const first = await answers.next();
    expect(first.body).toEqual({ topic: 'mills', messages: [user('Hi')] });
    await shows(page, ['user: Hi', 'assistant: ']);
    first.say('Hel');
    await shows(page, ['user: Hi', 'assistant: Hel']);
    await phase(page, 'streaming');
    first.say('lo.');
    first.finish();
    await phase(page, 'complete');

    await send(page, 'Go on');
    const second = await answers.next();
    expect(second.body).toEqual({ topic: 'none', messages: [user('Hi'), assistant('Hello.'), user('Go on')] });
    second.finish();
    await phase(page, 'complete');
    await shows(page, ['user: Hi', 'assistant: Hello.', 'user: Go on', 'assistant: ']);

    // An answer without a word is no turn.
    await send(page, 'And?');
    expect(turns(await answers.next())).toEqual([user('Hi'), assistant('Hello.'), user('Go on'), user('And?')]);
    expect(answers.requests).toHaveLength(3);
  });

  it('keeps what was cut and what was stopped, and shows the model its text', async () => {
    const { page, answers } = await open('plain', {}, [CUT, /status of 500/]);
    await send(page, 'One');
    const cut = await answers.next();
    cut.say('Half of it');
    await shows(page, ['user: One', 'assistant: Half of it']);
    cut.cut();
    await phase(page, 'interrupted');
    expect(await page.getAttribute('ol', 'data-error')).toBe('InterruptedError');

    await send(page, 'Two');
    const stopped = await answers.next();
    expect(turns(stopped)).toEqual([user('One'), assistant('Half of it'), user('Two')]);
    stopped.say('Stop');
    await shows(page, ['user: One', 'assistant: Half of it', 'user: Two', 'assistant: Stop']);
    await page.evaluate(() => {
      window.chat.stop();
    });
    await stopped.closed;
    await phase(page, 'stopped');
    expect(await page.getAttribute('ol', 'data-error')).toBeNull();

    await send(page, 'Three');
    const failed = await answers.next();
    expect(turns(failed)).toEqual([
      user('One'),
      assistant('Half of it'),
      user('Two'),
      assistant('Stop'),
      user('Three'),
    ]);
    failed.head(500);
    failed.finish();
    await phase(page, 'failed');

    await send(page, 'Four');
    const last = await answers.next();
    expect(turns(last).slice(-2)).toEqual([user('Three'), user('Four')]);
    last.finish();
    await phase(page, 'complete');
    expect(await phases(page)).toEqual(['interrupted', 'stopped', 'failed', 'complete']);
  });

  it('stops an answer that is on its way when the next question is sent, and keeps what came', async () => {
    const { page, answers } = await open('plain');
    await send(page, 'One');
    const first = await answers.next();
    first.say('Half');
    await shows(page, ['user: One', 'assistant: Half']);
    await send(page, 'Two');
    await first.closed;
    const second = await answers.next();
    expect(turns(second)).toEqual([user('One'), assistant('Half'), user('Two')]);
    second.say('Whole');
    second.finish();
    await phase(page, 'complete');
    await shows(page, ['user: One', 'assistant: Half', 'user: Two', 'assistant: Whole']);
    expect(await phases(page)).toEqual(['stopped', 'complete']);
  });

  it('asks again for the last answer, with what it was asked with', async () => {
    const { page, answers } = await open('plain', {}, [CUT]);
    await page.evaluate(() => {
      window.chat.retry(); // there is nothing to ask
    });
    await send(page, 'One', 'mills');
    const first = await answers.next();
    first.say('Half');
    await shows(page, ['user: One', 'assistant: Half']);
    first.cut();
    await phase(page, 'interrupted');
    await page.evaluate(() => {
      window.chat.retry();
    });
    const second = await answers.next();
    expect(second.body).toEqual({ topic: 'mills', messages: [user('One')] });
    second.say('Anew');
    await shows(page, ['user: One', 'assistant: Anew']);
    // One that is on its way is given up as well.
    await page.evaluate(() => {
      window.chat.retry();
    });
    await second.closed;
    const third = await answers.next();
    third.say('Once more');
    third.finish();
    await phase(page, 'complete');
    await shows(page, ['user: One', 'assistant: Once more']);
    expect(answers.requests).toHaveLength(3);
  });

  it('is empty after a reset, and ends with its component', async () => {
    const { page, answers } = await open('plain');
    await send(page, 'One');
    const first = await answers.next();
    first.say('Half');
    await shows(page, ['user: One', 'assistant: Half']);
    await page.evaluate(() => {
      window.chat.reset();
    });
    await first.closed;
    await shows(page, []);
    await phase(page, 'idle');
    await send(page, 'Two');
    const second = await answers.next();
    expect(turns(second)).toEqual([user('Two')]);
    second.say('Half');
    await shows(page, ['user: Two', 'assistant: Half']);
    const renders = await page.evaluate(() => {
      window.chat.clear();
      return window.chat.renders;
    });
    await second.closed;
    expect(await page.evaluate(() => window.chat.renders)).toBe(renders);
  });

  it('begins with a conversation that was stored', async () => {
    const { page, answers, show } = await open('plain');
    await send(page, 'One');
    const first = await answers.next();
    first.say('Whole');
    first.finish();
    await phase(page, 'complete');
    await send(page, 'Two');
    const second = await answers.next();
    second.say('Half');
    await shows(page, ['user: One', 'assistant: Whole', 'user: Two', 'assistant: Half']);
    const stored = await page.evaluate(() => {
      const stored = window.chat.stored();
      window.chat.clear();
      return stored;
    });
    await page.waitForSelector('ol', { state: 'detached' });
    await show({ stored });
    await shows(page, ['user: One', 'assistant: Whole', 'user: Two', 'assistant: Half']);
    // It was on its way, and does not come any more.
    expect(await phases(page)).toEqual(['complete', 'interrupted']);
    await send(page, 'Three');
    const third = await answers.next();
    expect(turns(third)).toEqual([user('One'), assistant('Whole'), user('Two'), assistant('Half'), user('Three')]);
    third.say('Here');
    third.finish();
    await phase(page, 'complete');
    await shows(page, [
      'user: One',
      'assistant: Whole',
      'user: Two',
      'assistant: Half',
      'user: Three',
      'assistant: Here',
    ]);
  });

  it('gives thoughts back with their signatures, and results to the calls that were whole', async () => {
    const api = await startProviderServer({ cors: 'any' });
    onTestFinished(() => api.close());
    const { page } = await open('anthropic', { baseURL: api.baseURLs.anthropic });
    api.next({
      thinking: 'It wants the weather.',
      text: 'I look.',
      toolCall: { id: 'toolu_1', name: 'weather', arguments: { city: 'Ulm' } },
    });
    await send(page, 'Rain?');
    await phase(page, 'complete');
    const result = { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'toolu_1', content: 'rain' }] };
    api.next({ text: 'Yes, it rains.' });
    await page.evaluate((result) => {
      window.chat.send(result);
    }, result);
    await page.waitForSelector('text=Yes, it rains.');
    await phase(page, 'complete');
    const { messages } = api.requests.at(-1)?.body as { messages: unknown[] };
    expect(messages).toEqual([
      user('Rain?'),
      {
        role: 'assistant',
        content: [
          { type: 'thinking', thinking: 'It wants the weather.', signature: expect.stringMatching(/.+/) },
          { type: 'text', text: 'I look.' },
          { type: 'tool_use', id: 'toolu_1', name: 'weather', input: { city: 'Ulm' } },
        ],
      },
      result,
    ]);
    await shows(page, ['user: Rain?', 'assistant: I look.', 'user: ', 'assistant: Yes, it rains.']);
  });

  it('gives an answer back as several items, and of one that was stopped its text alone', async () => {
    const api = await startProviderServer({ cors: 'any' });
    onTestFinished(() => api.close());
    const { page } = await open('responses', { baseURL: api.baseURLs.openai });
    const toolCall = { id: 'call_1', name: 'weather', arguments: { city: 'Ulm' } };
    api.next({ text: 'I look.', toolCall });
    await send(page, 'Rain?');
    await phase(page, 'complete');
    // It wants another result, and is stopped before it has said that this is all.
    api.next({
      text: 'And here.',
      toolCall: { ...toolCall, id: 'call_2' },
      fault: { kind: 'stall', at: { frame: -1 } },
    });
    const output = { type: 'function_call_output', call_id: 'call_1', output: 'rain' };
    await page.evaluate((output) => {
      window.chat.send([output]);
    }, output);
    await page.waitForSelector('li:last-child[data-calls="1"]');
    await page.evaluate(() => {
      window.chat.stop();
    });
    await phase(page, 'stopped');
    api.next({ text: 'Yes.' });
    await send(page, 'So?');
    await page.waitForSelector('text=Yes.');
    const { input } = api.requests.at(-1)?.body as { input: Record<string, unknown>[] };
    expect(input).toMatchObject([
      { role: 'user', content: 'Rain?' },
      { type: 'message', role: 'assistant' },
      { type: 'function_call', call_id: 'call_1' },
      output,
      { type: 'message', role: 'assistant', content: 'And here.' },
      { role: 'user', content: 'So?' },
    ]);
  });
});

function user(content: string): unknown {
  return { role: 'user', content };
}

function assistant(content: string): unknown {
  return { role: 'assistant', content };
}

function turns({ body }: PageRequest): unknown[] {
  return (body as { messages: unknown[] }).messages; // as the page sends them
}

async function send(page: Page, message: string, ...args: string[]): Promise<void> {
  await page.evaluate(
    ([message, args]) => {
      window.chat.send(message, ...args);
    },
    [message, args] as const,
  );
}

async function phase(page: Page, name: string): Promise<void> {
  await page.waitForSelector(`ol[data-phase=${name}]`, { state: 'attached' });
}

/** Where the answers are. */
async function phases(page: Page): Promise<(string | undefined)[]> {
  return page.$$eval('li[data-phase]', (items) => items.map((item) => (item as HTMLElement).dataset['phase']));
}

async function shows(page: Page, entries: readonly string[]): Promise<void> {
  await page.waitForFunction(
    (entries) => [...document.querySelectorAll('li')].map((item) => item.textContent).join('\n') === entries.join('\n'),
    entries,
  );
}
