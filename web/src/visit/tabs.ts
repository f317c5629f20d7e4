import { signal } from '@preact/signals';
import { normalise } from './room-names';

/** Between the windows of one browser; nothing of it leaves the browser. */
type Message = { type: 'who-is-in' | 'in' | 'out' | 'move-here'; room: string };

const CHANNEL = 'plausch.rooms';

/** Knows whether this person is already in the same room in another window, and can move the call here. */
export class OtherWindows {
  /** Another window of this browser is in this room. */
  readonly elsewhere = signal(false);
  private readonly channel = typeof BroadcastChannel === 'undefined' ? undefined : new BroadcastChannel(CHANNEL);
  private readonly room: string;
  private inside = false;

  /** `moveAway`: the person goes on in another window. */
  constructor(room: string, moveAway: () => void) {
    this.room = normalise(room);
    this.channel?.addEventListener('message', ({ data }: MessageEvent<Message>) => {
      if (data.room !== this.room) return;
      if (data.type === 'who-is-in' && this.inside) this.tell('in');
      else if (data.type === 'in' && !this.inside) this.elsewhere.value = true;
      else if (data.type === 'out') this.elsewhere.value = false;
      else if (data.type === 'move-here' && this.inside) moveAway();
    });
    this.tell('who-is-in');
  }

  /** Ends the call in the other window. */
  moveHere(): void {
    this.tell('move-here');
    this.elsewhere.value = false;
  }

  entered(): void {
    this.inside = true;
    this.tell('in');
  }

  left(): void {
    if (this.inside) this.tell('out');
    this.inside = false;
  }

  close(): void {
    this.left();
    this.channel?.close();
  }

  private tell(type: Message['type']): void {
    this.channel?.postMessage({ type, room: this.room } satisfies Message);
  }
}
