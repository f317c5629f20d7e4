import { expect, test } from 'vitest';
import { loudness } from './level';

const tone = (amplitude: number): Float32Array =>
  Float32Array.from({ length: 1024 }, (_, index) => amplitude * Math.sin(index / 5));

test('silence is nothing, full scale nearly all, and louder is more', () => {
  expect(loudness(new Float32Array(1024))).toBe(0);
  expect(loudness(tone(0.0005))).toBe(0);
  const levels = [0.003, 0.01, 0.1, 1].map((amplitude) => loudness(tone(amplitude)));
  expect(levels).toEqual([...levels].sort((a, b) => a - b));
  expect(levels.at(-1)).toBeGreaterThan(0.9);
  expect(levels.at(-1)).toBeLessThanOrEqual(1);
});
