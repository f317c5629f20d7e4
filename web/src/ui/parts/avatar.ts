/** Initials and a colour for people without a picture. */

const COLOURS = 8;

/** "Zoë Müller" → "ZM", "🎻 Jörg" → "🎻J", "Anna" → "A". */
export function initials(name: string): string {
  const words = name.trim().split(/[\s\-_.]+/u).filter((word) => word !== '');
  const letters = [words[0], words.length > 1 ? words[words.length - 1] : undefined];
  return letters.map((word) => (word === undefined ? '' : firstCharacter(word).toUpperCase())).join('');
}

/** Index of the colour: the same person has the same one for everybody. */
export function colourOf(name: string): number {
  let sum = 0;
  for (const character of name) sum = (sum * 31 + (character.codePointAt(0) ?? 0)) % 9973;
  return sum % COLOURS;
}

/** As people see it: a family emoji is one. */
function firstCharacter(word: string): string {
  // Browsers before 2024 may lack it.
  if (typeof Intl.Segmenter !== 'function') return [...word][0] ?? '';
  for (const { segment } of new Intl.Segmenter().segment(word)) return segment;
  return '';
}
