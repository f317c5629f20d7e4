import { signal } from '@preact/signals';
import { forget, recall, remember } from '../storage';
import { normalise } from './room-names';

/** More than these are not shown, and not kept. */
const VISITED_MAX = 8;

export const visitedRooms = signal<readonly string[]>([]);

export function loadVisited(): void {
  const value = recall('visited');
  visitedRooms.value = Array.isArray(value) ? value.filter((room) => typeof room === 'string').slice(0, VISITED_MAX) : [];
}

/** The latest first, each room once. */
export function addVisited(room: string): void {
  const others = visitedRooms.value.filter((other) => normalise(other) !== normalise(room));
  visitedRooms.value = [room, ...others].slice(0, VISITED_MAX);
  remember('visited', visitedRooms.value);
}

export function clearVisited(): void {
  visitedRooms.value = [];
  forget('visited');
}
