import { signal } from '@preact/signals';

/** Phones of one maker have none for pages. */
export const canFullScreen = typeof document.documentElement.requestFullscreen === 'function' && document.fullscreenEnabled;

export const fullScreen = signal(false);
document.addEventListener('fullscreenchange', () => {
  fullScreen.value = document.fullscreenElement !== null;
});

export function toggleFullScreen(): void {
  const change = document.fullscreenElement === null ? document.documentElement.requestFullscreen() : document.exitFullscreen();
  // The browser may say no, and shows that itself.
  change.catch(() => undefined);
}
