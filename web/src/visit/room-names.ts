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
  return `/${encodeURIComponent(joined(name))}`;
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

/** "OmaOpa" → "OmaOpaSonnenberg27": what was typed, and behind it one of about ninety thousand. */
export function extendName(
  typed: string,
  [beginnings, ends]: readonly [readonly string[], readonly string[]],
  [first, second, third]: Seeds,
): string {
  const place = `${beginnings[first % beginnings.length] ?? ''}${ends[second % ends.length] ?? ''}`;
  return `${joined(plain(typed))}${place}${10 + (third % 90)}`;
}

/** What a proposal is drawn from; kept, it gives the same proposal again. */
export type Seeds = readonly [number, number, number];

export function drawSeeds(): Seeds {
  const [first = 0, second = 0, third = 0] = crypto.getRandomValues(new Uint32Array(3));
  return [first, second, third];
}

export function secureRandom(below: number): number {
  const [value = 0] = crypto.getRandomValues(new Uint32Array(1));
  return value % below;
}

/** In letters that a link shows as they are, and that can be read out: "Müller" → "Mueller". */
function plain(name: string): string {
  return name
    .normalize('NFC')
    .replace(/[äöüÄÖÜ](?=(.?))/gu, (letter, next: string) => {
      const base = letter.normalize('NFD')[0] ?? '';
      return base + (base === base.toUpperCase() && next === next.toUpperCase() && next !== '' && /\p{L}/u.test(next) ? 'E' : 'e');
    })
    .replaceAll('ß', 'ss')
    .normalize('NFD')
    .replace(/[^ -~]/gu, '')
    .replace(/[^\w\s-]/gu, '');
}

function joined(name: string): string {
  return name
    .trim()
    .split(/\s+/u)
    .map((word, index) => (index === 0 ? word : capitalised(word)))
    .join('');
}

/** Only where lowercasing gives the same letter back, so that the room stays the same ("ß" would become "SS"). */
function capitalised(word: string): string {
  const [first = ''] = word;
  const upper = first.toUpperCase();
  return upper.toLowerCase() === first ? upper + word.slice(first.length) : word;
}
