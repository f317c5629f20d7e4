import { expect, test } from 'vitest';
import { tone, wav } from './test-tone';

test('the chime is heard, does not clip and does not click', () => {
  const samples = tone();
  expect(Math.max(...samples)).toBeGreaterThan(0.2);
  expect(Math.max(...samples.map(Math.abs))).toBeLessThan(0.5);
  expect(Math.abs(samples[0] ?? 1)).toBeLessThan(0.01);
  expect(Math.abs(samples.at(-1) ?? 1)).toBeLessThan(0.01);
});

test('a wave file says how long it is', () => {
  const bytes = wav(new Float32Array([0, 1, -1]));
  const view = new DataView(bytes);
  expect(bytes.byteLength).toBe(50);
  expect(new TextDecoder().decode(bytes.slice(0, 4))).toBe('RIFF');
  expect([view.getUint32(4, true), view.getUint32(24, true), view.getUint32(40, true)]).toEqual([42, 48_000, 6]);
  expect([0, 1, 2].map((i) => view.getInt16(44 + 2 * i, true))).toEqual([0, 32_767, -32_767]);
});
