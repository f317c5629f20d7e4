import type { RefObject } from 'preact';
import { useEffect, useRef } from 'preact/hooks';

/** A new page takes the focus, so that keyboard and screen reader start there. */
export function useFocusOnEntry<E extends HTMLElement>(): RefObject<E | null> {
  const element = useRef<E>(null);
  useEffect(() => element.current?.focus({ preventScroll: true }), []);
  return element;
}

/** Focusing a text field on a phone opens its keyboard over half of the page. */
export function hasKeyboard(): boolean {
  return matchMedia('(pointer: fine)').matches;
}
