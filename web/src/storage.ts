/** What this browser remembers, in localStorage under `plausch.*`; nothing of it is ever sent. */

const PREFIX = 'plausch.';

export function remember(key: string, value: unknown): void {
  try {
    localStorage.setItem(PREFIX + key, JSON.stringify(value));
  } catch {
    // Private windows and full disks may refuse: then nothing is remembered.
  }
}

export function recall(key: string): unknown {
  try {
    const json = localStorage.getItem(PREFIX + key);
    return json === null ? undefined : JSON.parse(json);
  } catch {
    return undefined;
  }
}

export function forget(key: string): void {
  try {
    localStorage.removeItem(PREFIX + key);
  } catch {
    // As above.
  }
}
