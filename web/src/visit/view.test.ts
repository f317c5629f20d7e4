import { describe, expect, test } from 'vitest';
import { arrange, focusOf, View } from './view';

describe('what stands before all others', () => {
  const plain = { mode: 'tiles', pinned: undefined, recent: [] } as const;

  test('nothing, when all are equal', () => {
    expect(focusOf(plain, ['a', 'b'], [])).toBeUndefined();
  });

  test('the latest screen, then whoever is pinned', () => {
    expect(focusOf(plain, ['a', 'b'], ['a/screen', 'b/screen'])).toBe('b/screen');
    expect(focusOf({ ...plain, pinned: 'a' }, ['a', 'b'], ['b/screen'])).toBe('a');
    expect(focusOf({ ...plain, pinned: 'gone' }, ['a', 'b'], [])).toBeUndefined();
  });

  test('in the speaker view whoever spoke last, and the first one before anybody spoke', () => {
    expect(focusOf({ ...plain, mode: 'speaker' }, ['a', 'b'], [])).toBe('a');
    expect(focusOf({ ...plain, mode: 'speaker', recent: ['gone', 'b'] }, ['a', 'b'], [])).toBe('b');
    expect(focusOf({ ...plain, mode: 'speaker' }, [], [])).toBeUndefined();
  });
});

test('silence forgets nobody, and the own voice moves no tile', () => {
  const view = new View();
  view.heard(['b', 'me'], 'me');
  view.heard(['me'], 'me');
  view.heard([], 'me');
  expect(view.recent.value).toEqual(['b']);
  view.heard(['c'], 'me');
  expect(view.recent.value).toEqual(['c', 'b']);
});

describe('who is on the first page', () => {
  const ids = ['a', 'b', 'c', 'd', 'e'];

  test('with places for all, everybody stays in the order of arrival', () => {
    expect(arrange(ids, ['e'], 5, [])).toEqual(ids);
  });

  test('a speaker comes to the front, and nobody else there moves', () => {
    const before = arrange(ids, [], 3, []);
    expect(before).toEqual(ids);
    const after = arrange(ids, ['e'], 3, before);
    expect(after.slice(0, 3)).toContain('e');
    expect(after[0]).toBe('a');
    expect(after[1]).toBe('b');
    expect([...after].sort()).toEqual(ids);
    // Who speaks again stays where they are.
    expect(arrange(ids, ['b', 'e'], 3, after).slice(0, 3)).toEqual(after.slice(0, 3));
  });

  test('who has just spoken is not displaced by the next speaker', () => {
    let order = arrange(ids, ['d'], 2, ids);
    order = arrange(ids, ['e', 'd'], 2, order);
    expect([...order.slice(0, 2)].sort()).toEqual(['d', 'e']);
    order = arrange(ids, ['c', 'e', 'd'], 2, order);
    expect([...order.slice(0, 2)].sort()).toEqual(['c', 'e']);
  });

  test('nobody is shown twice or lost when people leave', () => {
    const before = arrange(ids, ['e', 'd'], 3, ids);
    const rest = ids.filter((id) => id !== 'd');
    expect([...arrange(rest, ['e', 'd'], 3, before)].sort()).toEqual(rest);
  });
});
