/** Room names as people type them and as addresses. Control has the last word about both. */

/** Mirrors ROOM_NAME_CHARS of the server. */
export const ROOM_NAME_CHARS = 120;
/** Addresses of the service itself. */
const RESERVED = new Set(['.', '..', '.well-known', 'api', 'assets', 'metrics', 'index.html']);
/** Control characters, those that turn the direction of text, and what would end an address's segment. */
const FORBIDDEN = /[\p{Cc}\u202a-\u202e\u2066-\u2069\u200e\u200f/\\]/u;
/** White space, and characters of no width except the joiners that emoji need. */
const INVISIBLE = /[\s\u00ad\u200b\u2060\ufeff\u180e]+/gu;
/** Below it, without digits, a name is quickly guessed: "OmaOpa", "Yoga", "Chor". */
const GUESSABLE_BELOW_CHARS = 10;

/** Names that are equal after this meet in the same room. */
export function normalise(name: string): string {
  return name.normalize('NFKC').toLowerCase().normalize('NFKC').replace(INVISIBLE, '');
}

export function isUsable(name: string): boolean {
  const normal = normalise(name);
  const typed = name.trim();
  return normal !== '' && [...typed].length <= ROOM_NAME_CHARS && !FORBIDDEN.test(typed + normal) && !RESERVED.has(normal);
}

export function isGuessable(name: string): boolean {
  const normal = normalise(name);
  return [...normal].length < GUESSABLE_BELOW_CHARS && !/\d{3}/u.test(normal);
}

/** "Kaffee und Kuchen" → "/KaffeeUndKuchen": an address that can be read out on the telephone. */
export function addressOf(name: string): string {
  const joined = name
    .trim()
    .split(/\s+/u)
    .map((word, index) => (index === 0 ? word : capitalised(word)))
    .join('');
  return `/${encodeURIComponent(joined)}`;
}

/** `undefined`: the start page. */
export function roomOf(pathname: string): string | undefined {
  const path = pathname.replace(/^\/+|\/+$/gu, '');
  if (path === '' || path === 'index.html') return undefined;
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

/** Four words and a number: easy to say, and one of about a hundred million. */
export function suggestName(words: readonly (readonly string[])[], random: (below: number) => number): string {
  const picked = words.map((list) => list[random(list.length)] ?? '');
  return `${picked.join('')}${10 + random(90)}`;
}

export function secureRandom(below: number): number {
  const [value = 0] = crypto.getRandomValues(new Uint32Array(1));
  return value % below;
}

/** Only where lowercasing gives the same letter back, so that the room stays the same ("ß" would become "SS"). */
function capitalised(word: string): string {
  const [first = ''] = word;
  const upper = first.toUpperCase();
  return upper.toLowerCase() === first ? upper + word.slice(first.length) : word;
}
