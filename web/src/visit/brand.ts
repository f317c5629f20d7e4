/** Whose service this is: what control writes into the page from the operator's configuration. */
import { words, language, type Language } from '../i18n/language';

/** Texts of the start page that an operator may replace. */
export interface BrandTexts {
  tagline?: string;
  promise?: string;
  roomHint?: string;
}

export interface Brand {
  name: string;
  /** Where the operator's logo is to be had. */
  logo?: string;
  texts: Partial<Record<Language, BrandTexts>>;
}

const OURS: Brand = { name: 'Plausch', texts: {} };

/** Reads the page's meta element; anything that does not fit is left out. */
export function parseBrand(json: string | null | undefined): Brand {
  let value: unknown;
  try {
    value = JSON.parse(json ?? '');
  } catch {
    return OURS;
  }
  if (typeof value !== 'object' || value === null) return OURS;
  const { name, logo, texts } = value as Record<string, unknown>;
  return {
    name: typeof name === 'string' && name !== '' ? name : OURS.name,
    ...(typeof logo === 'string' && { logo }),
    texts: typeof texts === 'object' && texts !== null ? (texts as Brand['texts']) : {},
  };
}

export const brand: Brand =
  typeof document === 'undefined'
    ? OURS
    : parseBrand(document.querySelector('meta[name=plausch-brand]')?.getAttribute('content'));

/** A text of the start page: the operator's in the present language, or ours. */
export function brandText(key: keyof BrandTexts): string {
  return brand.texts[language.value]?.[key] ?? words.value.start[key];
}

/** The title of a page in the browser's tab. */
export function pageTitle(page?: string): string {
  return page === undefined ? brand.name : `${page} – ${brand.name}`;
}
