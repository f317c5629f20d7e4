import { signal } from '@preact/signals';

export type Mode = 'tiles' | 'speaker';

/** A tile is known by its participant, and a shared screen by this key. */
export function screenKey(participant: string): string {
  return `${participant}/screen`;
}

/** How one person looks at the room; nobody else learns of it. */
export class View {
  readonly mode = signal<Mode>('tiles');
  /** The key of the tile that the person wants to see large. */
  readonly pinned = signal<string | undefined>(undefined);
  /** Whether the own picture is among the tiles. */
  readonly selfShown = signal(true);
  /** The page of people's tiles, from 0. */
  readonly page = signal(0);
  /** Others who spoke, the latest first. */
  readonly recent = signal<readonly string[]>([]);

  /** `speakers`: who speaks now, loudest first. */
  heard(speakers: readonly string[], self: string | undefined): void {
    const others = speakers.filter((id) => id !== self);
    if (others.length === 0) return;
    this.recent.value = [...others, ...this.recent.peek().filter((id) => !others.includes(id))];
  }

  togglePin(key: string): void {
    this.pinned.value = this.pinned.value === key ? undefined : key;
  }

  toggleMode(): void {
    this.mode.value = this.mode.value === 'tiles' ? 'speaker' : 'tiles';
    this.pinned.value = undefined;
    this.page.value = 0;
  }
}

/** The key of the tile that stands before all others; `undefined`: all are equal. `screens`: the latest last. */
export function focusOf(
  { mode, pinned, recent }: { mode: Mode; pinned: string | undefined; recent: readonly string[] },
  people: readonly string[],
  screens: readonly string[],
): string | undefined {
  if (pinned !== undefined && (people.includes(pinned) || screens.includes(pinned))) return pinned;
  if (screens.length > 0) return screens.at(-1);
  if (mode === 'speaker') return recent.find((id) => people.includes(id)) ?? people[0];
  return undefined;
}

/**
 * Who stands where when not all have a place on the first page: those who spoke last do, and whoever stays there keeps
 * the place. The others follow in the order in which they came (`ids`). `before`: the last answer.
 */
export function arrange(ids: readonly string[], recent: readonly string[], places: number, before: readonly string[]): string[] {
  if (ids.length <= places) return [...ids];
  const known = new Set(ids);
  const spoken = recent.filter((id) => known.has(id));
  const stayed = before.slice(0, places).filter((id) => known.has(id));
  const first = new Set([...new Set([...spoken, ...stayed, ...ids])].slice(0, places));
  const placed = before.slice(0, places).map((id) => (first.has(id) ? id : undefined));
  while (placed.length < places) placed.push(undefined);
  const newcomers = [...first].filter((id) => !placed.includes(id));
  const page = placed.map((id) => id ?? newcomers.shift() ?? '');
  return [...page, ...ids.filter((id) => !first.has(id))];
}
