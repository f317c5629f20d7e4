import { describe, expect, test } from 'vitest';
import { de } from '../i18n/de';
import { en } from '../i18n/en';
import { readFileSync } from 'node:fs';
import { isGuessable } from './guessable';
import { addressOf, extendName, normalise, readTyped, roomOf, shownLink, suggestName, unusable } from './room-names';

const isUsable = (name: string): boolean => unusable(name) === undefined;

interface Example {
  typed: string;
  key: string | null;
}
const examples = JSON.parse(
  readFileSync(new URL('../../../control/tests/fixtures/room-names.json', import.meta.url), 'utf8'),
) as Example[];

test.each(examples)('as control has it: $typed', ({ typed, key }) => {
  if (key === null) expect(isUsable(typed)).toBe(false);
  else expect([normalise(typed), unusable(typed)]).toEqual([key, undefined]);
});

test('people who write a name differently meet', () => {
  expect(normalise(' Kulturverein Marion ')).toBe('kulturvereinmarion');
  expect(normalise('Ａ１')).toBe('a1');
  expect(normalise('ÄRZTE')).toBe(normalise('ärzte'));
});

describe('addresses', () => {
  test.each([
    ['Kulturverein Marion', '/KulturvereinMarion'],
    ['kaffee und kuchen', '/kaffeeUndKuchen'],
    ['Straße ßtrange', '/Stra%C3%9Fe%C3%9Ftrange'],
    ['50 % ? #', '/50%25%3F%23'],
    ['🧵', '/%F0%9F%A7%B5'],
  ])('%s', (name, address) => {
    expect(addressOf(name)).toBe(address);
    expect(normalise(roomOf(address) ?? '')).toBe(normalise(name));
  });

  test('of the start page and of broken escapes', () => {
    expect(roomOf('/')).toBeUndefined();
    expect(roomOf('/index.html')).toBeUndefined();
    expect(roomOf('/100%')).toBe('100%');
    expect(roomOf('/Chor/')).toBe('Chor');
  });
});

test('names that cannot be addresses', () => {
  for (const name of ['', '  ', '.', '..', 'API', 'assets', 'a\u0007b', 'a/b', 'a\\b', 'a\u202eb', '\u200b', 'robots.txt', 'Impressum', 'x'.repeat(121)]) expect(isUsable(name)).toBe(false);
  for (const name of ['a', 'St. Georg', '🎻', 'x'.repeat(120)]) expect(isUsable(name)).toBe(true);
});

test.each([en, de])('proposals are usable, not guessable, and many ($languageName)', ({ start: { roomWords } }) => {
  for (const list of roomWords) expect(new Set(list).size).toBe(32);
  const name = suggestName(roomWords, (below) => below - 1);
  expect(isUsable(name)).toBe(true);
  expect(isGuessable(name)).toBe(false);
  expect(roomWords.flat().join('')).toMatch(/^[A-Za-z]+$/u);
  expect(addressOf(name)).toBe(`/${name}`);
});

test.each([en, de])('a guessable name is extended, in letters that a link shows as they are ($languageName)', ({ start: { roomPlaces } }) => {
  for (const list of roomPlaces) expect(new Set(list).size).toBe(32);
  expect(roomPlaces.flat().join('')).toMatch(/^[A-Za-z]+$/u);
  for (const [typed, begins] of [
    ['OmaOpa', 'OmaOpa'],
    ['Familie Müller', 'FamilieMueller'],
    ['ÄRZTE-Treff', 'AERZTE-Treff'],
    ['Straße', 'Strasse'],
    ['Чат', ''],
  ] as const) {
    const name = extendName(typed, roomPlaces, [0, 0, 0]);
    expect(name).toBe(`${begins}${roomPlaces[0][0]}${roomPlaces[1][0]}10`);
    expect(addressOf(name)).toBe(`/${name}`);
    expect(isGuessable(name)).toBe(false);
  }
  expect(isUsable(extendName('x'.repeat(120), roomPlaces, [31, 31, 89]))).toBe(true);
});

test.each([
  ['https://konferenz.example/KulturvereinMarion', 'KulturvereinMarion'],
  ['http://konferenz.example/KulturvereinMarion/', 'KulturvereinMarion'],
  ['https://Konferenz.Example:443/K%C3%BCche?utm=1#x', 'Küche'],
  ['konferenz.example/Test.', 'Test'],
  ['  <https://konferenz.example/Test>  ', 'Test'],
  ['//konferenz.example/Test', 'Test'],
  ['https://konferenz.example/', ''],
  ['„https://konferenz.example/Test“', 'Test'],
  ['Kommt alle', 'Kommt alle'],
  ['yoga.de', 'yoga.de'],
])('a pasted link is understood: %s', (text, name) => {
  expect(readTyped(text, 'konferenz.example')).toEqual({ name });
});

test('a link of another server is none of ours', () => {
  expect(readTyped('https://meet.example/Test', 'konferenz.example')).toEqual({ foreign: 'meet.example' });
});

test('links are shown as people read them', () => {
  expect(shownLink('https://a.example/K%C3%BCcheM%C3%BCller')).toBe('https://a.example/KücheMüller');
  expect(shownLink('https://a.example/a%2Fb%20%E2%80%AE%3F')).toBe('https://a.example/a%2Fb%20%E2%80%AE%3F');
});
