/** How often it is looked, and how long a picture may bring nothing: said within 3 s at the latest. */
export const LOOK_EVERY_MS = 750;
export const STILL_AFTER_MS = 1_900;

interface Seen {
  last: number;
  since_ms: number;
}

/** Finds the pictures that stand still though their senders have them on. */
export class Stillness {
  private readonly seen = new Map<string, Seen>();

  /**
   * `last`: a mark of the latest picture of each that should move, another one for each picture; 0 where none is known.
   * Gives back those that stand still.
   */
  look(last: ReadonlyMap<string, number>, now_ms: number): ReadonlySet<string> {
    for (const key of this.seen.keys()) if (!last.has(key)) this.seen.delete(key);
    const still = new Set<string>();
    for (const [key, mark] of last) {
      const known = this.seen.get(key);
      // What has not begun is not still; what the browser has forgotten for its age is.
      if (mark !== 0 && mark !== known?.last) this.seen.set(key, { last: mark, since_ms: now_ms });
      else if (known !== undefined && now_ms - known.since_ms >= STILL_AFTER_MS) still.add(key);
    }
    return still;
  }
}
