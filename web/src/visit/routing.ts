import { computed, signal } from '@preact/signals';
import { addressOf, normalise, roomOf } from './room-names';

const place = signal({ path: location.pathname, typed: typedName() });
const look = (): void => {
  place.value = { path: location.pathname, typed: typedName() };
};
addEventListener('popstate', look);

/** The name as it was typed, spaces and all, while the address has it without; kept over a reload. */
function typedName(): string | undefined {
  const state: unknown = history.state;
  return typeof state === 'string' ? state : undefined;
}

/** The room of the link; `undefined` on the start page. */
export const roomInAddress = computed(() => {
  const { path, typed } = place.value;
  const room = roomOf(path);
  return room !== undefined && typed !== undefined && normalise(typed) === normalise(room) ? typed : room;
});

/** Somebody else named this room: the person came by a link. */
export const cameByLink = computed(() => place.value.typed === undefined);

export function goToRoom(name: string): void {
  history.pushState(name.trim(), '', addressOf(name));
  look();
}

export function goToStart(): void {
  history.pushState(null, '', '/');
  look();
}
