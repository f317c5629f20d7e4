import { expect, test } from 'vitest';
import { colourOf, initials } from './avatar';

test.each([
  ['Anna', 'A'],
  ['zoë müller', 'ZM'],
  ['Jörg 🎻', 'J🎻'],
  ['👩‍👩‍👧 Meier', '👩‍👩‍👧M'],
  ['Anna Maria von Berg', 'AB'],
  ['Karl-Heinz', 'KH'],
  ['', ''],
])('%s', (name, expected) => {
  expect(initials(name)).toBe(expected);
});

test('a colour for every name', () => {
  for (const name of ['', 'Anna', '🎻']) expect(colourOf(name)).toBeGreaterThanOrEqual(0);
  expect(colourOf('Anna')).toBe(colourOf('Anna'));
});
