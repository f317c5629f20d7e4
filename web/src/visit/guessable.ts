/**
 * How many guesses a stranger needs for a room's name, as password meters estimate it: the cheapest way to put the name
 * together of usual words, years, runs on the keyboard and, where nothing else fits, single letters.
 */

import { NUMBERS, RUNS, WORDS } from './guessable-words';
import { normalise } from './room-names';

/**
 * Twenty bits, a million guesses: control takes 300 joins a minute from one network, which is then busy for two days and
 * noticed. "KulturvereinMarion" is above it, "Familie Müller" far below.
 */
const SAFE_BITS = 20;
/** Longer names are safe by their length alone, and need no search. */
const LONG_CHARS = 48;
/** Years that people put behind a name. */
const YEARS = /^(?:19|20)\d\d$/u;
const YEAR_BITS = Math.log2(150);
const DIGIT_BITS = Math.log2(10);

const RANKS = new Map<string, number>();
for (const word of WORDS) if (!RANKS.has(word)) RANKS.set(word, RANKS.size + 1);
const LONGEST_WORD = Math.max(...WORDS.map((word) => word.length));

export function isGuessable(name: string): boolean {
  return guessBits(name) < SAFE_BITS;
}

/** The binary logarithm of the guesses. */
export function guessBits(name: string): number {
  const chars = [...plainLetters(normalise(name))].filter((c) => /[\p{L}\p{N}\p{S}]/u.test(c));
  if (chars.length > LONG_CHARS) return Number.POSITIVE_INFINITY;
  // best[k][end]: the fewest bits for the first `end` characters in k parts. Parts in any order are k! more guesses.
  const size = chars.length;
  let best = new Array<number>(size + 1).fill(Number.POSITIVE_INFINITY);
  best[0] = 0;
  let bits = size === 0 ? 0 : Number.POSITIVE_INFINITY;
  let orders = 0;
  for (let parts = 1; parts <= size; parts++) {
    orders += Math.log2(parts);
    const next = new Array<number>(size + 1).fill(Number.POSITIVE_INFINITY);
    for (let end = parts; end <= size; end++) {
      for (let start = parts - 1; start < end; start++) {
        const before = best[start] ?? Number.POSITIVE_INFINITY;
        if (before >= bits) continue;
        const whole = before + partBits(chars.slice(start, end), chars.slice(0, start));
        if (whole < (next[end] ?? Number.POSITIVE_INFINITY)) next[end] = whole;
      }
    }
    bits = Math.min(bits, (next[size] ?? Number.POSITIVE_INFINITY) + orders);
    best = next;
  }
  return bits;
}

/** The surprise of one part, after those before it. */
function partBits(part: readonly string[], before: readonly string[]): number {
  const text = part.join('');
  let bits = unknownBits(part, text);
  if (part.length <= LONGEST_WORD) {
    const rank = RANKS.get(text);
    if (rank !== undefined) bits = Math.min(bits, Math.log2(rank + 1));
    if (YEARS.test(text)) bits = Math.min(bits, YEAR_BITS);
    if (NUMBERS.includes(text)) bits = Math.min(bits, Math.log2(NUMBERS.length));
  }
  if (part.length >= 3) {
    if (RUNS.some((run) => run.includes(text))) bits = Math.min(bits, 3 + Math.log2(part.length));
    if (part.every((c) => c === part[0])) bits = Math.min(bits, DIGIT_BITS + Math.log2(part.length));
    // The same once more.
    if (before.join('').endsWith(text)) bits = Math.min(bits, 1);
  }
  return bits;
}

/** What is in no list: a rare word is one of some hundred thousand, a single letter one of thirty. */
function unknownBits(part: readonly string[], text: string): number {
  if (/^\d+$/u.test(text)) return DIGIT_BITS * part.length;
  if (/^\p{L}+$/u.test(text)) return Math.min(4.9 * part.length, 8 + 1.4 * part.length);
  return part.length === 1 ? 7 : Number.POSITIVE_INFINITY;
}

/** Without accents, as the lists are. */
function plainLetters(name: string): string {
  return name.normalize('NFD').replace(/\p{M}/gu, '');
}
