/**
 * Room names as people type them and as links have them. Control has the last word about both; the rule is the same
 * (control/src/names), and both are tested with control/tests/fixtures/room-names.json.
 */

/** Mirrors ROOM_NAME_CHARS of the server. */
export const ROOM_NAME_CHARS = 120;
/** What turns text around, control characters, and what would end a link's segment. */
const FORBIDDEN = /[\p{Cc}\u202a-\u202e\u2066-\u2069/\\]/u;
const JOINER = '\u200c\u200d';
/** What has no ink, joiners apart: white space, default-ignorable code points, blanks of Braille and of music. */
const INVISIBLE =
  '\\s\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b\\u200e\\u200f\\u2060-\\u2065\\u206a-\\u206f\\u2800\\u3164\\ufe00-\\ufe0f\\ufeff\\uffa0\\ufff0-\\ufffc\\u{1bca0}-\\u{1bca3}\\u{1d159}\\u{1d173}-\\u{1d17a}\\u{e0000}-\\u{e0fff}';
const INVISIBLE_CHARS = new RegExp(`[${INVISIBLE}\\u0085]+`, 'gu');
const IDLE_JOINERS = new RegExp(`(?<![^\\0-\\x7f${JOINER}])[${JOINER}]|[${JOINER}](?![^\\0-\\x7f${JOINER}])`, 'gu');
const BEFORE = new RegExp(`^[${INVISIBLE}${JOINER}\\u0085/]+`, 'u');
/** What programs put behind a link that stands in a sentence, and what ends a sentence. */
const BEHIND = new RegExp(`[${INVISIBLE}${JOINER}\\u0085.,;:!?)\\]}>'"*’‘‚”“„»«›‹…。、/\\\\]+$`, 'u');
/** Pages and folders of the service, now or as people expect them. */
const RESERVED = new Set([
  'about', 'accessibility', 'admin', 'anleitung', 'anleitung-handy', 'anleitung-pc', 'api', 'assets', 'barrierefreiheit',
  'branding', 'colibri-ws', 'contact', 'datenschutz', 'datenschutzerklärung', 'docs', 'guide', 'guide-pc', 'guide-phone',
  'health', 'help', 'hilfe', 'http-bind', 'impressum', 'imprint', 'kontakt', 'legal', 'legal-notice', 'login', 'logout',
  'metrics', 'nutzung', 'nutzungsbedingungen', 'privacy', 'static', 'status', 'terms', 'whep', 'whip', 'xmpp-websocket',
]);
/** Ends of the names of files that browsers and crawlers ask servers for. */
const FILE =
  /^\.|\.(?:aspx?|bak|cgi|css|env|gif|html?|ico|jpe?g|js|json|jsp|map|md|mjs|php|png|sql|svg|txt|wasm|webmanifest|webp|xml|ya?ml|zip)$/u;

/** Names that are equal after this meet in the same room. */
export function normalise(name: string): string {
  let key = fold(bare(name));
  for (let again = fold(key), rounds = 0; again !== key && rounds < 4; again = fold(key), rounds++) key = again;
  return key;
}

function fold(name: string): string {
  return bare(
    name
      .normalize('NFKC')
      .toLowerCase()
      .normalize('NFKC')
      .replace(INVISIBLE_CHARS, '')
      .replaceAll('ς', 'σ')
      .replaceAll('ß', 'ss')
      .replace(IDLE_JOINERS, ''),
  );
}

/** Without what stands around a link in a text. */
function bare(name: string): string {
  return name.replace(BEFORE, '').replace(BEHIND, '');
}

/** Why a name cannot be a room's; `undefined` if it can. */
export function unusable(name: string): 'empty' | 'too-long' | 'characters' | 'reserved' | undefined {
  const typed = bare(name);
  if ([...typed].length > ROOM_NAME_CHARS) return 'too-long';
  if (FORBIDDEN.test(typed)) return 'characters';
  const key = normalise(typed);
  if (key === '') return 'empty';
  if ([...key].length > ROOM_NAME_CHARS) return 'too-long';
  if (FORBIDDEN.test(key)) return 'characters';
  return FILE.test(key) || RESERVED.has(key) ? 'reserved' : undefined;
}

/** "Kaffee und Kuchen" → "/KaffeeUndKuchen": a link that can be read out on the telephone. */
export function addressOf(name: string): string {
  return `/${encodeURIComponent(joined(bare(name)))}`;
}

/** `undefined`: the start page. Control sends every link of a room to the right one before this page sees it. */
export function roomOf(pathname: string): string | undefined {
  const path = pathname.replace(/^\/+|\/+$/gu, '');
  if (path === '' || path === 'index.html') return undefined;
  return decoded(path);
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

/**
 * What a person means who types a name or pastes a link. A link of this server is its room's name; one of another
 * server is `foreign`, and no name.
 */
export function readTyped(text: string, host: string): { name: string } | { foreign: string } {
  const typed = text.trim().replace(/^[<„“"'(]+/u, '');
  const link = /^(?:[a-z][a-z0-9+.-]*:)?\/\/([^/?#\s]+)(?:\/([^?#\s]*))?/iu.exec(typed);
  if (link !== null) return linkOf(link[1] ?? '', link[2] ?? '', host);
  // Without "https://", as it stands on paper.
  const [first = '', ...rest] = typed.split('/');
  if (sameHost(first, host)) return linkOf(first, (rest.join('/').split(/[?#\s]/u, 1)[0] ?? ''), host);
  return { name: text };
}

function linkOf(host: string, path: string, ours: string): { name: string } | { foreign: string } {
  if (!sameHost(host, ours)) return { foreign: host };
  return { name: bare(decoded(path)) };
}

function sameHost(one: string, other: string): boolean {
  const plain = (host: string): string => host.toLowerCase().replace(/^.*@|^www\.|:\d+$|\.$/gu, '');
  return plain(one) === plain(other) && plain(one) !== '';
}

/** A link as people read it: "KücheMüller", not "K%C3%BCcheM%C3%BCller". What would mislead stays encoded. */
export function shownLink(link: string): string {
  return link.replace(/(?:%[0-9a-f]{2})+/giu, (escapes) => {
    const text = decoded(escapes);
    return /^[\p{L}\p{M}\p{N}\p{Extended_Pictographic}\u200d\ufe0f]+$/u.test(text) ? text : escapes;
  });
}

/** Four words and a number: easy to say, and one of about a hundred million. */
export function suggestName(words: readonly (readonly string[])[], random: (below: number) => number): string {
  const picked = words.map((list) => list[random(list.length)] ?? '');
  return `${picked.join('')}${10 + random(90)}`;
}

/** What a proposal is drawn from; kept, it gives the same proposal again. */
export type Seeds = readonly [number, number, number];

export function drawSeeds(): Seeds {
  const [first = 0, second = 0, third = 0] = crypto.getRandomValues(new Uint32Array(3));
  return [first, second, third];
}

/** "OmaOpa" → "OmaOpaSonnenberg27": what was typed, and behind it one of about ninety thousand. */
export function extendName(
  typed: string,
  [beginnings, ends]: readonly [readonly string[], readonly string[]],
  [first, second, third]: Seeds,
): string {
  const place = `${beginnings[first % beginnings.length] ?? ''}${ends[second % ends.length] ?? ''}`;
  const number = 10 + (third % 90);
  // As much of a long name as leaves room for it.
  const room = ROOM_NAME_CHARS - place.length - `${number}`.length;
  return `${joined(plain(bare(typed))).slice(0, room)}${place}${number}`;
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
      return base + (base === base.toUpperCase() && /\p{Lu}/u.test(next) ? 'E' : 'e');
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

/** Only where lowercasing gives the same letter back, so that the room stays the same. */
function capitalised(word: string): string {
  const [first = ''] = word;
  const upper = first.toUpperCase();
  return upper.toLowerCase() === first ? upper + word.slice(first.length) : word;
}
