import { expect, test } from 'vitest';
import { parseBrand } from './brand';

test('the operator’s name, logo and texts are taken', () => {
  const brand = parseBrand('{"name":"Musterstadt","logo":"/branding/logo.svg","texts":{"de":{"tagline":"Hallo"}}}');
  expect(brand).toEqual({ name: 'Musterstadt', logo: '/branding/logo.svg', texts: { de: { tagline: 'Hallo' } } });
});

test.each([null, undefined, '', 'no JSON', '5', 'null', '{}', '{"name":""}', '{"name":5,"logo":7,"texts":3}'])('%s: ours', (json) => {
  expect(parseBrand(json)).toEqual({ name: 'Plausch', texts: {} });
});
