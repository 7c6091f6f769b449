import { type RefObject, useEffect, useLayoutEffect, useRef } from 'react';

/** So near to the end counts as there: zoomed pages have fractions of a pixel. */
const NEAR_PX = 24;

/**
 * Keeps an element scrolled to its end while it grows, unless its reader has scrolled up.
 *
 * @param items - what it shows; nothing is scrolled while there is none
 * @param jump - goes to the end wherever the reader is, when it changes
 */
export function useScrollEnd<Scroller extends HTMLElement>(
  items: readonly unknown[],
  jump?: number,
): RefObject<Scroller | null> {
  const ref = useRef<Scroller>(null);
  const isAtEnd = useRef(true);
  const isEmpty = items.length === 0;
  useEffect(() => {
    const scroller = ref.current;
    if (scroller === null || isEmpty) return undefined;
    const note = () => {
      if (scroller.clientHeight === 0) return; // not shown
      isAtEnd.current = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_PX;
    };
    scroller.addEventListener('scroll', note, { passive: true });
    // When it is shown again, too.
    const resized = new ResizeObserver(() => {
      if (isAtEnd.current) scroller.scrollTop = scroller.scrollHeight;
    });
    resized.observe(scroller);
    return () => {
      scroller.removeEventListener('scroll', note);
      resized.disconnect();
    };
  }, [isEmpty]);
  useLayoutEffect(() => {
    isAtEnd.current = true;
  }, [jump]);
  useLayoutEffect(() => {
    const scroller = ref.current;
    if (scroller !== null && !isEmpty && isAtEnd.current) scroller.scrollTop = scroller.scrollHeight;
  }, [items, isEmpty]);
  return ref;
}
