/** How often the browser is asked, and how long a picture may bring nothing: said within 3 s at the latest. */
export const LOOK_EVERY_MS = 750;
export const STILL_AFTER_MS = 1_900;

interface Seen {
  packets: number;
  since_ms: number;
}

/** Finds the pictures that stand still though their senders have them on. */
export class Stillness {
  private readonly seen = new Map<string, Seen>();

  /** `packets`: received so far of each picture that should move. Gives back those that stand still. */
  look(packets: ReadonlyMap<string, number>, now_ms: number): ReadonlySet<string> {
    for (const key of this.seen.keys()) if (!packets.has(key)) this.seen.delete(key);
    const still = new Set<string>();
    for (const [key, count] of packets) {
      const known = this.seen.get(key);
      // A new connection counts from zero.
      if (known === undefined || count !== known.packets) this.seen.set(key, { packets: count, since_ms: now_ms });
      // What has not begun is not still.
      else if (count > 0 && now_ms - known.since_ms >= STILL_AFTER_MS) still.add(key);
    }
    return still;
  }
}
