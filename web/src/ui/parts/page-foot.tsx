import type { ComponentChildren, JSX } from 'preact';
import { language, words } from '../../i18n/language';
import { LanguageSwitch } from './language-switch';

/** The operator's pages, which control serves, by language. */
const PAGES = {
  de: { guidePc: 'anleitung-pc', guidePhone: 'anleitung-handy', terms: 'nutzung', privacy: 'datenschutz', legal: 'impressum', accessibility: 'barrierefreiheit' },
  en: { guidePc: 'guide-pc', guidePhone: 'guide-phone', terms: 'terms', privacy: 'privacy', legal: 'legal-notice', accessibility: 'accessibility' },
} as const;

/** Guides, what the law asks for, and the language. `away`: the links open beside this page, which must not be lost. */
export function PageFoot({ children, away = false }: { children?: ComponentChildren; away?: boolean }): JSX.Element {
  const t = words.value.foot;
  const pages = PAGES[language.value];
  const link = (page: keyof typeof pages, text: string, name?: string): JSX.Element => (
    <a href={`/${pages[page]}`} aria-label={name} {...(away && { target: '_blank', rel: 'noopener' })}>
      {text}
    </a>
  );
  return (
    <footer class="page-foot">
      {children}
      <nav aria-label={t.label}>
        <ul class="foot-links">
          <li>
            {t.guide} {link('guidePc', t.guidePc, `${t.guide} ${t.guidePc}`)} <span aria-hidden="true">|</span>{' '}
            {link('guidePhone', t.guidePhone, `${t.guide} ${t.guidePhone}`)}
          </li>
          <li>{link('terms', t.terms)}</li>
          <li>{link('privacy', t.privacy)}</li>
          <li>{link('legal', t.legal)}</li>
          <li>{link('accessibility', t.accessibility)}</li>
          <li>
            <LanguageSwitch />
          </li>
        </ul>
      </nav>
    </footer>
  );
}
