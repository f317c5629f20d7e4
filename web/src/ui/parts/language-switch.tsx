import type { JSX } from 'preact';
import { catalog, chooseLanguage, isLanguage, language, LANGUAGES, words } from '../../i18n/language';

export function LanguageSwitch(): JSX.Element {
  return (
    <label class="language">
      <span class="visually-hidden">{words.value.common.language}</span>
      <select
        value={language.value}
        onChange={({ currentTarget }) => {
          if (isLanguage(currentTarget.value)) chooseLanguage(currentTarget.value);
        }}
      >
        {LANGUAGES.map((name) => (
          <option key={name} value={name} lang={name}>
            {catalog(name).languageName}
          </option>
        ))}
      </select>
    </label>
  );
}
