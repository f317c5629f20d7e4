import { signal, type Signal } from '@preact/signals';
import { loadPreferences, savePreferences } from '../devices/preferences';

/** What the person may switch off in the room; remembered in this browser. */
export const SWITCHES = ['sounds', 'notices', 'shortcuts'] as const;
export type Switch = (typeof SWITCHES)[number];

export const settings: Readonly<Record<Switch, Signal<boolean>>> = {
  sounds: signal(true),
  notices: signal(true),
  shortcuts: signal(true),
};

export function loadSettings(): void {
  const known = loadPreferences();
  for (const name of SWITCHES) settings[name].value = known[name];
}

export function setSwitch(name: Switch, on: boolean): void {
  settings[name].value = on;
  savePreferences({ [name]: on });
}
