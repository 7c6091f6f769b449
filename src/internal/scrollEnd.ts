/** Farther from the end than this is not at it: two of the three numbers are rounded, the third falls on a device's pixels. */
const NEAR_PX = 2;

/** How scrollers were when they were put at their end. */
const marks: WeakMap<Element, Pick<Element, 'clientHeight' | 'scrollHeight' | 'scrollTop'>> = new WeakMap();

/**
 * Notes what is scrolled to its end around an element that is about to grow: itself, its ancestors, the page.
 * @returns puts those at their end again; to be called once it has grown
 */
export function keepScrollEnd(element: Element): () => void {
  const { defaultView } = element.ownerDocument;
  if (defaultView === null || !element.isConnected) return () => undefined;
  const atEnd = scrollersOf(element, defaultView).filter(isAtEnd);
  return () => {
    for (const scroller of atEnd) {
      // Not smoothly, whatever the page's style says: on its way it would not be at the end when more comes.
      if (isAtEnd(scroller)) continue;
      scroller.scrollTo({ top: scroller.scrollHeight, behavior: 'instant' });
      const { clientHeight, scrollHeight, scrollTop } = scroller;
      marks.set(scroller, { clientHeight, scrollHeight, scrollTop });
    }
  };
}

/** All of them: the nearest may have no bound of its height (`overflow-x: auto` alone makes one), and grow within the next. */
function scrollersOf(element: Element, view: Window): Element[] {
  const scrollers: Element[] = [];
  for (let at: Element | null = element; at !== null; at = parentOf(at)) {
    const { overflowY } = view.getComputedStyle(at);
    if (overflowY === 'auto' || overflowY === 'scroll') scrollers.push(at);
  }
  const { scrollingElement } = element.ownerDocument;
  if (scrollingElement !== null && !scrollers.includes(scrollingElement)) scrollers.push(scrollingElement);
  return scrollers;
}

/** The element around another as the page is laid out: slots and the hosts of shadow trees count. */
export function parentOf(element: Element): Element | null {
  const root = element.getRootNode();
  // Nothing else that is at the top has a host.
  const host = 'host' in root ? (root as ShadowRoot).host : null;
  return element.assignedSlot ?? element.parentElement ?? host;
}

function isAtEnd(scroller: Element): boolean {
  const { clientHeight, scrollHeight, scrollTop } = scroller;
  const mark = marks.get(scroller);
  // A finger moves slowly: less than what is near within a frame. Where the box has changed, the browser may have moved it.
  const isSameBox = mark?.clientHeight === clientHeight && mark.scrollHeight <= scrollHeight;
  if (isSameBox && scrollTop < mark.scrollTop) return false;
  return scrollHeight - clientHeight - scrollTop < NEAR_PX;
}
