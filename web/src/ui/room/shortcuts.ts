import { useEffect } from 'preact/hooks';
import { settings } from '../../visit/settings';
import type { Session } from '../../visit/session';
import { canFullScreen, toggleFullScreen } from './full-screen';

/** Keys as others have them too. */
export const SHORTCUTS = ['space', 'M', 'V', 'D', 'P', 'W', 'S', '?', 'Esc'] as const;
export type Shortcut = (typeof SHORTCUTS)[number];

/** Where the person is typing, or where the key means something already. */
function isTaken(target: EventTarget | null): boolean {
  return target instanceof Element && target.closest('input, textarea, select, dialog, [role=menu], [contenteditable]') !== null;
}

/** Single keys, and the space bar to talk. They can be switched off (WCAG 2.1.4). */
export function useShortcuts(session: Session): void {
  useEffect(() => {
    const { media, view, panels } = session;
    /** Whoever moves by keyboard presses buttons with the space bar; whoever has clicked one does not mean to press it again. */
    let byKeyboard = false;
    const act: Record<string, () => void> = {
      m: () => media.toggleMicrophone(),
      v: () => void media.toggleCamera(),
      d: () => {
        if (media.state.value.screen) media.stopScreen();
        else if (media.canShareScreen) void media.shareScreen();
      },
      p: () => panels.toggle('people'),
      w: () => view.toggleMode(),
      s: () => canFullScreen && toggleFullScreen(),
      '?': () => panels.show('shortcuts'),
    };
    const onButton = (): boolean => byKeyboard && document.activeElement instanceof HTMLButtonElement;
    const pressed = (event: KeyboardEvent): void => {
      if (['Tab', 'ArrowUp', 'ArrowDown', 'ArrowLeft', 'ArrowRight'].includes(event.key)) byKeyboard = true;
      if (event.defaultPrevented) return;
      if (event.key === 'Escape' && panels.panel.value !== undefined && !(event.target instanceof Element && event.target.closest('dialog, [role=menu]'))) {
        panels.close();
        return;
      }
      if (!settings.shortcuts.value || event.ctrlKey || event.metaKey || event.altKey || isTaken(event.target)) return;
      if (event.key === ' ') {
        if (onButton()) return;
        event.preventDefault();
        if (event.repeat || session.talking.value || media.state.value.microphone) return;
        session.talking.value = true;
        media.talk(true);
        return;
      }
      const action = act[event.key.toLowerCase()];
      if (action === undefined || event.repeat) return;
      event.preventDefault();
      action();
    };
    const stopTalking = (): void => {
      if (!session.talking.value) return;
      session.talking.value = false;
      media.talk(false);
    };
    const released = (event: KeyboardEvent): void => {
      if (event.key !== ' ') return;
      // A button that was clicked by mouse still has the focus and would be pressed by this.
      if (session.talking.value) event.preventDefault();
      stopTalking();
    };
    const pointed = (): void => {
      byKeyboard = false;
    };
    addEventListener('keydown', pressed, true);
    addEventListener('keyup', released, true);
    addEventListener('pointerdown', pointed, true);
    addEventListener('blur', stopTalking);
    return () => {
      stopTalking();
      removeEventListener('keydown', pressed, true);
      removeEventListener('keyup', released, true);
      removeEventListener('pointerdown', pointed, true);
      removeEventListener('blur', stopTalking);
    };
  }, [session]);
}
