import { parentOf } from './scrollEnd.js';

/** What makes a region live, besides `aria-live`: WAI-ARIA 1.2, section 6.5.2, and the native element of one of these roles. */
const LIVE = [
  '[aria-live]',
  'output',
  ...['alert', 'log', 'marquee', 'status', 'timer'].map((role) => `[role~="${role}"]`),
].join();

/** How many streams write into each element whose `aria-busy` is ours. */
const streams: WeakMap<Element, number> = new WeakMap();

/**
 * Makes an element a polite live region that is busy, so that a screen reader tells its text once it is there and not token by
 * token. What the page's author has said stays as it is: a region that is live already, at the element or around it, and an
 * `aria-busy` of the author's own.
 * @returns says that the text is there
 */
export function beginUpdate(element: Element): () => void {
  if (!isLive(element)) element.setAttribute('aria-live', 'polite');
  const others = streams.get(element);
  if (others === undefined && element.hasAttribute('aria-busy')) return () => undefined;
  streams.set(element, (others ?? 0) + 1);
  element.setAttribute('aria-busy', 'true');
  return () => {
    const left = (streams.get(element) ?? 1) - 1;
    streams.set(element, left);
    if (left === 0) element.setAttribute('aria-busy', 'false');
  };
}

function isLive(element: Element): boolean {
  for (let at: Element | null = element; at !== null; at = parentOf(at)) if (at.matches(LIVE)) return true;
  return false;
}
