import type { JSX } from 'preact';
import { brand } from '../../visit/brand';
import { Mark } from './icons';

/** The operator's logo, or our mark. The name stands beside it. */
export function BrandMark(): JSX.Element {
  return brand.logo === undefined ? <Mark /> : <img class="logo" src={brand.logo} alt="" />;
}
