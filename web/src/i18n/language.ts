import { computed, signal } from '@preact/signals-core';
import { recall, remember } from '../storage';
import { de } from './de';
import { en, type Messages } from './en';

/** A further language is one more file and one more line here. */
const CATALOGS = { de, en } satisfies Record<string, Messages>;

export type Language = keyof typeof CATALOGS;
export const LANGUAGES = Object.keys(CATALOGS) as Language[];

export function isLanguage(value: unknown): value is Language {
  return typeof value === 'string' && Object.hasOwn(CATALOGS, value);
}

/** The first of the browser's languages that we have; English otherwise. */
export function preferredLanguage(tags: readonly string[]): Language {
  for (const tag of tags) {
    const primary = tag.toLowerCase().split('-')[0];
    if (isLanguage(primary)) return primary;
  }
  return 'en';
}

export const language = signal<Language>('en');

/** The words of the present language. */
export const words = computed<Messages>(() => CATALOGS[language.value]);

export function catalog(of: Language): Messages {
  return CATALOGS[of];
}

/** Remembered choice before the browser's wish. */
export function initLanguage(): void {
  const remembered = recall('language');
  language.value = isLanguage(remembered) ? remembered : preferredLanguage(navigator.languages);
}

export function chooseLanguage(to: Language): void {
  language.value = to;
  remember('language', to);
}
