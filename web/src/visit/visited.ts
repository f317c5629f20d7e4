import { signal } from '@preact/signals';
import { savePreferences } from '../devices/preferences';
import { forget, recall, remember } from '../storage';
import { normalise } from './room-names';

/** More than these are not shown, and not kept. */
const VISITED_MAX = 8;

/** The rooms that the person asked this browser to remember, the latest first. */
export const visitedRooms = signal<readonly string[]>([]);
/** The person has ticked "remember on this device": only then are rooms and the own name kept (§ 25 TDDDG). */
export const remembering = signal(false);

export function loadVisited(): void {
  remembering.value = recall('remember') === true;
  const value = remembering.value ? recall('visited') : undefined;
  visitedRooms.value = Array.isArray(value) ? value.filter((room) => typeof room === 'string').slice(0, VISITED_MAX) : [];
}

export function setRemembering(on: boolean): void {
  remembering.value = on;
  if (on) remember('remember', true);
  else clearVisited();
}

/** Keeps the name and the room, each room once, if the person wants that. */
export function addVisited(room: string, name: string): void {
  if (!remembering.value) return;
  savePreferences({ name });
  const others = visitedRooms.value.filter((other) => normalise(other) !== normalise(room));
  visitedRooms.value = [room, ...others].slice(0, VISITED_MAX);
  remember('visited', visitedRooms.value);
}

/** Forgets all rooms and the name. */
export function clearVisited(): void {
  remembering.value = false;
  visitedRooms.value = [];
  savePreferences({ name: '' });
  for (const key of ['visited', 'remember']) forget(key);
}
