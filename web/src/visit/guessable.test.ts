import { expect, test } from 'vitest';
import { guessBits, isGuessable } from './guessable';

test.each([
  'OmaOpa', 'Kulturverein', 'Elternabend', 'Familie Müller', 'Familie Mueller', 'Yoga2024', 'Yoga', 'test123', 'test', '12345',
  'Chor 1', 'Chor 4711', 'Meeting', 'Team Meeting', 'aaaaaaaaaaaaaaaa', 'abcdefghij', 'qwertz123', 'Klasse 3b', 'Oma und Opa',
  'Spieleabend', 'OmaOmaOmaOma', 'Anna', 'Geburtstag Oma', 'Braunschweig', '2024', 'Sommerfest2025', 'a', 'äöü', 'Jour fixe',
  'ELTERNABEND', 'Eltern Abend', 'Family', 'book', 'Ｔｅｓｔ', 'Feuerwehr Berlin', '🎻',
])('%s is guessed', (name) => {
  expect(guessBits(name)).toBeLessThan(20);
  expect(isGuessable(name)).toBe(true);
});

test.each([
  'KulturvereinMarion', 'Kulturverein Marion', 'OmaOpaSonnenberg27', 'KluganKeckeStareTanzenOft42', 'x7k2p9qw', 'GeigenprobeDonnerstagNord',
  'Elternabend 5b Goetheschule', 'Blaubeerpfannkuchen', 'x'.repeat(20) + 'kjwqhvzptn', 'Schachclub Weststadt',
])('%s is not', (name) => {
  expect(isGuessable(name)).toBe(false);
});

test('the longest name takes no time', () => {
  const started = performance.now();
  guessBits('ab1'.repeat(40));
  guessBits('oma'.repeat(16));
  // Not a measurement: an exponential search would not end at all.
  expect(performance.now() - started).toBeLessThan(5_000);
});

test('more is never easier by much', () => {
  for (const name of ['OmaOpa', 'Yoga', 'Familie Müller']) {
    expect(guessBits(`${name}Sonnenberg27`)).toBeGreaterThan(guessBits(name));
  }
});
