import { describe, expect, test } from 'vitest';
import { bestLayout, capacity } from './layout';

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

  test('a full page keeps its tiles large enough to see a face', () => {
    const places = capacity(width, height, GAP);
    const layout = bestLayout(places, width, height, GAP);
    const rows = Math.ceil(places / layout.columns);
    expect(layout.width).toBeGreaterThanOrEqual(120);
    expect(rows * layout.height + (rows - 1) * GAP).toBeLessThanOrEqual(height);
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

test('a page holds six to eight people on a phone, and one where there is hardly room', () => {
  expect(capacity(374, 640, GAP)).toBe(8);
  expect(capacity(344, 480, GAP)).toBe(6);
  expect(capacity(828, 290, GAP)).toBeGreaterThanOrEqual(6);
  expect(capacity(1264, 640, GAP)).toBe(25);
  expect(capacity(304, 120, GAP)).toBe(1);
  expect(capacity(0, 0, GAP)).toBe(1);
});
