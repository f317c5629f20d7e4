import type { RefObject } from 'preact';
import { useLayoutEffect, useState } from 'preact/hooks';

/** Whether the element holds more than it shows. Then it must take the focus, or keyboards could not scroll it. */
export function useScrollable(element: RefObject<HTMLElement | null>): boolean {
  const [scrollable, setScrollable] = useState(false);
  useLayoutEffect(() => {
    const { current } = element;
    setScrollable(current !== null && current.scrollHeight > current.clientHeight + 1);
  });
  return scrollable;
}
