import axeCore from 'axe-core';
import type { Subject as SubjectClass } from 'rxjs';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { toElement as toElementOf } from '../../src/sinks/toElement.js';
import type { StreamEvent } from '../../src/types.js';
import {
  bundlePage,
  describeInChromium,
  launchChromium,
  longestTask,
  openPage,
  openTab,
  type PageServer,
  servePage,
} from '../support/chromium.js';

/** What the program puts into the page for the functions that tests run there. */
declare const Subject: typeof SubjectClass;
declare const toElement: typeof toElementOf;
declare const find: (selector: string) => HTMLElement;
declare const nextFrame: () => Promise<void>;
declare const flood: (
  element: HTMLElement,
  tokens: number,
  perSecond: number,
) => Promise<{ fps: number; nodes: number; chars: number; mutations: number; frames: number }>;
declare const axe: { run: (context: unknown) => Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> };

const PROGRAM = `
  import { toElement } from 'millrace';
  import { Observable, Subject } from 'rxjs';

  const nextFrame = () => new Promise((resolve) => requestAnimationFrame(() => resolve()));
  const words = ['A', ' stream', ' of', ' tokens', ' that', ' the', ' page', ' shows', ' as', ' they', ' come.\\n'];
  async function flood(element, tokens, perSecond) {
    let mutations = 0;
    const observer = new MutationObserver((list) => (mutations += list.length));
    observer.observe(element, { childList: true, characterData: true, subtree: true });
    let frames = 0;
    let frame;
    const onFrame = () => {
      frames += 1;
      frame = requestAnimationFrame(onFrame);
    };
    onFrame();
    const startedAt = performance.now();
    const source = new Observable((subscriber) => {
      let sent = 0;
      const send = () => {
        const due = Math.min(tokens, ((performance.now() - startedAt) * perSecond) / 1000);
        for (; sent < due; sent += 1) subscriber.next(words[sent % words.length]);
        if (sent >= tokens) subscriber.complete();
        else setTimeout(send, 2);
      };
      send();
    });
    await new Promise((resolve, reject) => source.pipe(toElement(element)).subscribe({ complete: resolve, error: reject }));
    const seconds = (performance.now() - startedAt) / 1000;
    const fps = frames / seconds;
    await nextFrame(); // the last text is laid out
    cancelAnimationFrame(frame);
    observer.disconnect();
    return { fps, frames, mutations, nodes: element.childNodes.length, chars: element.textContent.length };
  }
  Object.assign(globalThis, { toElement, Subject, nextFrame, flood, find: (selector) => document.querySelector(selector) });
`;

const HTML = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <title>Answers</title>
    <link rel="icon" href="data:," />
    <script type="module" src="/page.js"></script>
    <style>
      .box { height: 120.5px; width: 300px; overflow-y: auto; }
      p { margin: 0; line-height: 20.4px; white-space: pre-wrap; }
    </style>
  </head>
  <body>
    <main>
      <h1>Answers</h1>
      <div id="box" class="box" tabindex="0" role="region" aria-label="Answer"><p id="answer"></p></div>
      <p id="other"></p>
    </main>
  </body>
</html>
`;

/** On a machine that does much besides. */
const PATIENT = { timeout: 10_000 };

describeInChromium('toElement', () => {
  let browser: Browser;
  let server: PageServer;
  beforeAll(async () => {
    browser = await launchChromium();
    server = await servePage({ script: await bundlePage(PROGRAM), html: HTML });
  });
  afterAll(async () => {
    await browser.close();
    await server.close();
  });

  async function open(): Promise<Page> {
    const page = await openPage(browser, server.url);
    await page.waitForFunction('globalThis.toElement');
    return page;
  }

  it('shows HTML as the text that it is', async () => {
    const page = await open();
    const attack = `<img src=x onerror="document.title='hacked'"><script>document.title='hacked'</script></p><svg onload="document.title='hacked'">&lt;b&gt;`;
    const shown = await page.evaluate(
      async (pieces) => {
        const source = new Subject<string>();
        source.pipe(toElement(find('#answer'))).subscribe();
        for (const piece of pieces) {
          source.next(piece);
          await nextFrame();
        }
        source.complete();
        await nextFrame();
        const { textContent, children, childNodes } = find('#answer');
        return { textContent, elements: children.length, nodes: [...childNodes].map(({ nodeType }) => nodeType) };
      },
      attack.match(/[^]{1,7}/g)!,
    );
    expect(shown).toEqual({ textContent: attack, elements: 0, nodes: [3] });
    expect(await page.title()).toBe('Answers');
  });

  it('refuses what is no element, and programs, before anything is asked', async () => {
    const page = await open();
    const refusals = await page.evaluate(() => {
      const values = [document, document.createTextNode('a'), null, '#answer', document.createElement('script')];
      return values.map((value) => {
        try {
          toElement(value as unknown as Element);
          return 'taken';
        } catch (error) {
          return String(error);
        }
      });
    });
    expect(refusals).toEqual([
      'TypeError: element must be an Element of a page, got object',
      'TypeError: element must be an Element of a page, got object',
      'TypeError: element must be an Element of a page, got null',
      'TypeError: element must be an Element of a page, got "#answer"',
      'TypeError: element is a <script>, and the page would run what a model writes; give another element',
    ]);
  });

  it("takes an element of another window, and one of another document's language", async () => {
    const page = await open();
    const shown = await page.evaluate(async () => {
      const frame = document.createElement('iframe');
      document.body.append(frame);
      const inFrame = frame.contentDocument!.createElement('p');
      frame.contentDocument!.body.append(inFrame);
      const inSVG = document.createElementNS('http://www.w3.org/2000/svg', 'text');
      for (const element of [inFrame, inSVG]) {
        const source = new Subject<string>();
        source.pipe(toElement(element)).subscribe();
        source.next('a');
        await nextFrame();
      }
      return [inFrame.textContent, inSVG.textContent];
    });
    expect(shown).toEqual(['a', 'a']);
  });

  it('never shows half of a character', async () => {
    const page = await open();
    const seen = await page.evaluate(async () => {
      const element = find('#answer');
      const seen: string[] = [];
      const observer = new MutationObserver(() => seen.push(element.textContent));
      observer.observe(element, { childList: true, characterData: true, subtree: true });
      const source = new Subject<string>();
      source.pipe(toElement(element)).subscribe();
      for (const half of '🐎🐢') {
        for (const unit of half.split('')) {
          source.next(unit);
          await nextFrame();
        }
      }
      await nextFrame();
      return seen;
    });
    expect(seen).toEqual(['🐎', '🐎🐢']);
  });

  it('keeps what the reader has selected', async () => {
    const page = await open();
    const selected = await page.evaluate(async () => {
      const element = find('#answer');
      const source = new Subject<string>();
      source.pipe(toElement(element)).subscribe();
      source.next('one two');
      await nextFrame();
      getSelection()!.setBaseAndExtent(element.firstChild!, 4, element.firstChild!, 7);
      for (let sent = 0; sent < 20; sent += 1) {
        source.next(' and more'.repeat(200));
        await nextFrame();
      }
      return [getSelection()!.toString(), element.childNodes.length > 1];
    });
    expect(selected).toEqual(['two', true]);
  });

  it('shows several streams side by side, in elements of their own and in one', async () => {
    const page = await open();
    const shown = await page.evaluate(async () => {
      const places = [find('#answer'), find('#answer'), find('#other')];
      const sources = places.map((element, index) => {
        const source = new Subject<StreamEvent>();
        source.pipe(toElement(element, { append: index < 2 })).subscribe();
        return source;
      });
      const say = (index: number, text: string): void => {
        sources[index]!.next({ type: 'text', text, index: 0, name: 'output' });
      };
      const seen: string[] = [];
      const look = async (): Promise<void> => {
        await nextFrame();
        seen.push(`${find('#answer').textContent}|${find('#other').textContent}`);
      };
      for (const round of ['a ', 'b ']) {
        for (const index of [0, 1, 2]) say(index, String(index) + round);
        await look();
      }
      sources[0]!.next({ type: 'restart', attempt: 2, because: 'a cut', discard: { chars: 6 } });
      await look();
      for (const index of [0, 1, 2]) say(index, `${String(index)}c `);
      await look();
      return seen;
    });
    expect(shown).toEqual(['0a 1a |2a ', '0a 0b 1a 1b |2a 2b ', '1a 1b |2a 2b ', '0c 1a 1b 1c |2a 2b 2c ']);
  });

  /** Tells how far from its end each scroller is after each step; a step is a number of lines, or pixels to scroll up from the end. */
  function scroll(page: Page, scrollers: readonly string[], steps: readonly ({ lines: number } | { up: number })[]) {
    return page.evaluate(
      async ([selectors, moves]) => {
        const elements = selectors.map((selector) => find(selector));
        const source = new Subject<string>();
        source.pipe(toElement(find('#answer'))).subscribe();
        const seen: number[][] = [];
        for (const move of moves) {
          if ('lines' in move) {
            for (let line = 0; line < move.lines; line += 1) {
              source.next('\nA line of the answer');
              if (line % 3 === 0) await nextFrame();
            }
            await nextFrame();
          } else {
            for (const element of elements) {
              element.scrollTo({ top: element.scrollHeight - element.clientHeight - move.up, behavior: 'instant' });
            }
          }
          seen.push(elements.map((at) => Math.round(at.scrollHeight - at.clientHeight - at.scrollTop)));
        }
        return seen;
      },
      [scrollers, steps] as const,
    );
  }

  it.each([1, 1.25, 1.5, 2])('stays at the end where the reader is there, at %f device pixels', async (ratio) => {
    const page = await open();
    const cdp = await page.context().newCDPSession(page);
    const metrics = { width: 800, height: 600, deviceScaleFactor: ratio, mobile: false };
    await cdp.send('Emulation.setDeviceMetricsOverride', metrics);
    const seen = await scroll(page, ['#box'], [{ lines: 30 }, { up: 200 }, { lines: 10 }, { up: 0 }, { lines: 11 }]);
    const [followed, [left] = [], [stayed] = [], , followedAgain] = seen;
    expect(followed![0]).toBeLessThan(2);
    expect(left).toBe(200);
    expect(stayed! - left!).toBeGreaterThan(200); // ten lines more, and not an inch moved
    expect(stayed! - left!).toBeLessThan(208);
    expect(followedAgain![0]).toBeLessThan(2);
  });

  it.each([1, 4])('leaves a reader alone who has moved up by %i pixel, until the end is reached again', async (up) => {
    const page = await open();
    const steps = [{ lines: 30 }, { up }, { lines: 10 }, { up: 0 }, { lines: 3 }];
    const seen = (await scroll(page, ['#box'], steps)).map(([distance]) => distance!);
    expect(seen[2]).toBeGreaterThan(200);
    expect(seen[4]).toBeLessThan(2);
  });

  it('stays at the end when the box changes its size, and when the answer begins anew', async () => {
    const page = await open();
    const distances = await page.evaluate(async () => {
      const box = find('#box');
      const source = new Subject<StreamEvent>();
      source.pipe(toElement(find('#answer'))).subscribe();
      const seen: number[] = [];
      const say = async (lines: number): Promise<void> => {
        source.next({ type: 'text', text: 'A line of the answer\n'.repeat(lines), index: 0, name: 'output' });
        await nextFrame();
        seen.push(Math.round(box.scrollHeight - box.clientHeight - box.scrollTop));
      };
      await say(30);
      box.style.height = '300px';
      await nextFrame();
      await say(5);
      source.next({ type: 'restart', attempt: 2, because: 'a cut', discard: { chars: 700 } });
      await say(3);
      await say(30);
      return seen;
    });
    expect(Math.max(...distances)).toBeLessThan(2);
  });

  it.each([
    ['the element itself', '#answer', `find('#answer').classList.add('box'); find('#box').classList.remove('box');`],
    ['the page', 'html', `find('#box').classList.remove('box'); find('#answer').style.paddingTop = '2000px';`],
    ['a box that scrolls smoothly', '#box', `find('#box').style.scrollBehavior = 'smooth';`],
    ['a box around one that scrolls sideways only', '#box', `find('#answer').style.overflowX = 'auto';`],
    [
      'a box around the shadow tree that it is in',
      '#box',
      `const box = find('#box');
       const answer = find('#answer');
       box.attachShadow({ mode: 'open' }).append(answer);
       globalThis.find = (selector) => (selector === '#box' ? box : answer);`,
    ],
    [
      'a box in the shadow tree around it',
      '#box',
      `const box = find('#box');
       const answer = find('#answer');
       const host = document.createElement('section');
       find('main').append(host);
       host.attachShadow({ mode: 'open' }).innerHTML = '<style>.box { height: 120.5px; overflow-y: auto }</style>';
       host.shadowRoot.append(box);
       box.replaceChildren(document.createElement('slot'));
       host.append(answer);
       globalThis.find = (selector) => (selector === '#box' ? box : answer);`,
    ],
  ])('follows in %s', async (_, scroller, arrange) => {
    const page = await open();
    await page.evaluate(arrange);
    const steps = [{ up: 0 }, { lines: 40 }, { up: 100 }, { lines: 10 }, { up: 0 }, { lines: 10 }];
    const seen = (await scroll(page, [scroller], steps)).map(([distance]) => distance!);
    expect(seen[1]).toBeLessThan(2);
    expect(seen[3]).toBeGreaterThan(180);
    expect(seen[5]).toBeLessThan(2);
  });

  it('keeps each scroller around it where its reader left it', async () => {
    const page = await open();
    await page.evaluate(() => {
      document.body.style.height = '3000px'; // the page is at its top
    });
    const source = await scroll(page, ['#box', 'html'], [{ lines: 30 }]);
    expect(source[0]![0]).toBeLessThan(2);
    expect(await page.evaluate('scrollY')).toBe(0);
  });

  it('is polite and busy for assistive technology, and has no violation that axe knows', async () => {
    const page = await open();
    const cdp = await page.context().newCDPSession(page);
    await cdp.send('Accessibility.enable');
    const regionOf = async (): Promise<Record<string, unknown>> => {
      const { root } = await cdp.send('DOM.getDocument');
      const { nodeId } = await cdp.send('DOM.querySelector', { nodeId: root.nodeId, selector: '#answer' });
      const { nodes } = await cdp.send('Accessibility.getPartialAXTree', { nodeId, fetchRelatives: false });
      const properties = nodes[0]?.properties ?? [];
      return Object.fromEntries(properties.map(({ name, value }) => [name, value.value]));
    };
    await page.addScriptTag({ content: axeCore.source });
    const violations = (): Promise<unknown> =>
      page.evaluate(async () => (await axe.run(document)).violations.map(({ id, nodes }) => [id, nodes[0]?.html]));
    await page.evaluate(async () => {
      const source = new Subject<string>();
      Object.assign(globalThis, { source });
      source.pipe(toElement(find('#answer'))).subscribe();
      source.next('Half of it');
      await nextFrame();
    });
    expect(await regionOf()).toMatchObject({ live: 'polite', busy: 1 });
    expect(await violations()).toEqual([]);
    await page.evaluate('source.next(", and all of it"); source.complete();');
    const { busy = 0, live } = await regionOf();
    expect({ busy, live }).toEqual({ busy: 0, live: 'polite' });
    expect(await page.getAttribute('#answer', 'aria-busy')).toBe('false');
    expect(await violations()).toEqual([]);
  });

  it('writes into a hidden page, which has no frames', async () => {
    const tab = await openTab(browser, server.url);
    await expect.poll(() => tab.evaluate('typeof toElement'), PATIENT).toBe('function');
    await tab.evaluate(
      `globalThis.source = new Subject(); source.pipe(toElement(find('#answer'))).subscribe(); source.next('seen');`,
    );
    await expect.poll(() => tab.evaluate(`find('#answer').textContent`), PATIENT).toBe('seen');
    await tab.hide();
    await expect.poll(() => tab.evaluate('document.visibilityState'), PATIENT).toBe('hidden');
    await tab.evaluate(`source.next(', and not'); for (let sent = 0; sent < 50000; sent += 1) source.next('.');`);
    await expect.poll(() => tab.evaluate(`find('#answer').textContent.length`), PATIENT).toBe(50_013);
    // What is more than may wait does not.
    expect(
      await tab.evaluate(
        `for (let sent = 0; sent < 100000; sent += 1) source.next('!'); find('#answer').textContent.length`,
      ),
    ).toBeGreaterThan(50_013 + 65_535);
    await tab.show();
    await expect.poll(() => tab.evaluate(`find('#answer').textContent.length`), PATIENT).toBe(150_013);
  });

  it('keeps a page at its frames while 10,000 tokens a second come', async () => {
    const page = await open();
    const run = (): ReturnType<typeof flood> => page.evaluate(() => flood(find('#answer'), 20_000, 10_000));
    const { value: told, wallMs, cpuMs } = await longestTask(browser, page, run);
    console.log(
      `toElement, 10,000 tokens a second for 2 s: longest task ${cpuMs.toFixed(1)} ms of CPU, ${wallMs.toFixed(1)} ms by the clock, ` +
        `${told.fps.toFixed(1)} frames a second, ${String(told.nodes)} text nodes of ${String(told.chars)} characters`,
    );
    expect(cpuMs).toBeLessThan(50);
    expect(told.mutations).toBeLessThanOrEqual(2 * told.frames);
    expect(told.nodes).toBeLessThan(told.chars / 8_192 + 1);
  });

  it('shows 100,000 tokens in a few text nodes', async () => {
    const page = await open();
    const run = (): ReturnType<typeof flood> => page.evaluate(() => flood(find('#answer'), 100_000, 50_000));
    const { value: told, wallMs, cpuMs } = await longestTask(browser, page, run);
    console.log(
      `toElement, 100,000 tokens in 2 s: longest task ${cpuMs.toFixed(1)} ms of CPU, ${wallMs.toFixed(1)} ms by the clock, ` +
        `${String(told.nodes)} text nodes of ${String(told.chars)} characters`,
    );
    expect(told.nodes).toBeLessThan(told.chars / 8_192 + 1);
    expect(told.mutations).toBeLessThanOrEqual(2 * told.frames);
  });
});
