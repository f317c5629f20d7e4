import { expect, test } from 'vitest';
import { LOOK_EVERY_MS, STILL_AFTER_MS, Stillness } from './stillness';

test('a picture that brings nothing is found within three seconds, and only that one', () => {
  const stillness = new Stillness();
  let found: number | undefined;
  // The last packet of "a" comes just after a look; that of "b" keeps coming.
  for (let now = 0, b = 0; now < 5_000; now += LOOK_EVERY_MS, b += 9) {
    const still = stillness.look(new Map([['a', now === 0 ? 5 : 6], ['b', b]]), now);
    if (still.has('a')) found ??= now;
    expect(still.has('b')).toBe(false);
  }
  expect(found).toBeLessThanOrEqual(3_000);
  expect(found).toBeGreaterThanOrEqual(STILL_AFTER_MS);
});

test('it moves again with the next packet', () => {
  const stillness = new Stillness();
  stillness.look(new Map([['a', 5]]), 0);
  expect(stillness.look(new Map([['a', 5]]), 2_500)).toContain('a');
  expect(stillness.look(new Map([['a', 6]]), 3_000)).not.toContain('a');
});

test('what has not begun, or has just come back, is not still', () => {
  const stillness = new Stillness();
  stillness.look(new Map([['a', 0], ['b', 900]]), 0);
  expect([...stillness.look(new Map([['a', 0], ['b', 950]]), 9_000)]).toEqual([]);
  stillness.look(new Map(), 9_500);
  expect([...stillness.look(new Map([['b', 950]]), 20_000)]).toEqual([]);
});

test('a picture so old that the browser has forgotten it is still', () => {
  const stillness = new Stillness();
  stillness.look(new Map([['a', 900]]), 0);
  expect([...stillness.look(new Map([['a', 0]]), 11_000)]).toEqual(['a']);
});
