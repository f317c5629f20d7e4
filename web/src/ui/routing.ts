import { computed, signal } from '@preact/signals';
import { roomOf } from './room-names';

const path = signal(location.pathname);
addEventListener('popstate', () => {
  path.value = location.pathname;
});

/** The room of the address; `undefined` on the start page. */
export const roomInAddress = computed(() => roomOf(path.value));

export function navigate(to: string): void {
  history.pushState(null, '', to);
  path.value = location.pathname;
}
