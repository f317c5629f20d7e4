import { signal, type ReadonlySignal } from '@preact/signals';

function follow(query: string): ReadonlySignal<boolean> {
  const list = matchMedia(query);
  const matches = signal(list.matches);
  list.addEventListener('change', () => {
    matches.value = list.matches;
  });
  return matches;
}

/** A phone, upright or on its side, or a page that is zoomed in far. */
export const compact = follow('(max-width: 48rem), (max-height: 30rem)');
/** Whether there is likely to be a keyboard. */
export const finePointer = follow('(any-pointer: fine)');
