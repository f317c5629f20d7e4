import { signal } from '@preact/signals';
import { words } from '../i18n/language';

/** How long a notice stays: long enough to read one sentence twice. */
const SHOWN_MS = 6_000;
/** Who comes within this time of somebody else is told of in the same sentence. */
const TOGETHER_MS = 500;
/** More at once would hide the tiles. */
const SHOWN_AT_ONCE = 3;

export interface Notice {
  id: number;
  text: string;
}

/** What has just happened in the room, for eyes and for screen readers. */
export class Notices {
  readonly list = signal<readonly Notice[]>([]);
  private next = 0;
  private readonly waiting = { joined: [] as string[], left: [] as string[] };
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly timers = new Set<ReturnType<typeof setTimeout>>();

  say(text: string): void {
    const notice = { id: (this.next += 1), text };
    this.list.value = [...this.list.peek(), notice].slice(-SHOWN_AT_ONCE);
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      this.list.value = this.list.peek().filter(({ id }) => id !== notice.id);
    }, SHOWN_MS);
    this.timers.add(timer);
  }

  /** A crowd that comes together is one sentence. */
  presence(kind: 'joined' | 'left', name: string): void {
    this.waiting[kind].push(name);
    this.timer ??= setTimeout(() => this.flush(), TOGETHER_MS);
  }

  close(): void {
    clearTimeout(this.timer);
    for (const timer of this.timers) clearTimeout(timer);
    this.timers.clear();
  }

  private flush(): void {
    this.timer = undefined;
    const t = words.peek().room;
    for (const kind of ['joined', 'left'] as const) {
      const names = this.waiting[kind].splice(0);
      const [name] = names;
      if (name === undefined) continue;
      if (names.length === 1) this.say(kind === 'joined' ? t.joined(name) : t.left(name));
      else this.say(kind === 'joined' ? t.joinedMany(names.length) : t.leftMany(names.length));
    }
  }
}
