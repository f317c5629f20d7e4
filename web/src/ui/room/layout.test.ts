import { describe, expect, test } from 'vitest';
import { bestLayout } from './layout';

const GAP = 8;

describe.each([
  ['desktop', 1280, 660],
  ['phone upright', 390, 700],
  ['phone on its side', 844, 300],
])('%s', (_, width, height) => {
  test.each([1, 2, 3, 4, 5, 6, 9])('%i tiles fit without scrolling', (count) => {
    const layout = bestLayout(count, width, height, GAP);
    const rows = Math.ceil(count / layout.columns);
    expect(layout.columns * layout.width + (layout.columns - 1) * GAP).toBeLessThanOrEqual(width);
    expect(rows * layout.height + (rows - 1) * GAP).toBeLessThanOrEqual(height);
    expect(layout.width).toBeGreaterThanOrEqual(100);
  });

  test('many tiles keep a useful size and scroll', () => {
    const layout = bestLayout(120, width, height, GAP);
    expect(layout.width).toBeGreaterThanOrEqual(150);
    expect(layout.columns * layout.width + (layout.columns - 1) * GAP).toBeLessThanOrEqual(width);
  });
});

test('two people sit side by side on a wide screen and one above the other on an upright one', () => {
  expect(bestLayout(2, 1280, 660, GAP).columns).toBe(2);
  expect(bestLayout(2, 390, 700, GAP).columns).toBe(1);
});

test('a stage without room for anything breaks nothing', () => {
  const layout = bestLayout(3, 0, 0, GAP);
  expect(layout.width).toBeGreaterThanOrEqual(0);
  expect(layout.height).toBeGreaterThanOrEqual(0);
});
