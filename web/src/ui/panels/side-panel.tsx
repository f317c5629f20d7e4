import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { words } from '../../i18n/language';
import type { PanelName } from '../../visit/panels';
import type { Session } from '../../visit/session';
import { CloseIcon } from '../parts/icons';
import { ParticipantsPanel } from './participants-panel';

/** The one place for panels: beside the tiles, and on phones instead of them. */
export function SidePanel({ session }: { session: Session }): JSX.Element | null {
  switch (session.panels.panel.value) {
    case 'people':
      return (
        <Panel key="people" name="people" title={words.value.room.participants} session={session}>
          <ParticipantsPanel session={session} />
        </Panel>
      );
    default:
      return null;
  }
}

interface PanelProps {
  name: PanelName;
  title: string;
  session: Session;
  children: ComponentChildren;
}

function Panel({ name, title, session, children }: PanelProps): JSX.Element {
  const heading = useRef<HTMLHeadingElement>(null);
  useReturnOfFocus();
  useEffect(() => heading.current?.focus({ preventScroll: true }), []);
  return (
    <aside class="panel" aria-labelledby={`panel-${name}`}>
      <header class="panel-head">
        <h2 ref={heading} id={`panel-${name}`} tabIndex={-1}>
          {title}
        </h2>
        <button type="button" class="plain round" aria-label={words.value.common.close} onClick={() => session.panels.close()}>
          <CloseIcon />
        </button>
      </header>
      {children}
    </aside>
  );
}

/** When the panel is gone, the focus is where it was before, unless the person has moved on by themselves. */
function useReturnOfFocus(): void {
  useLayoutEffect(() => {
    const before = document.activeElement;
    return () => {
      requestAnimationFrame(() => {
        const nowhere = document.activeElement === null || document.activeElement === document.body;
        if (nowhere && before instanceof HTMLElement && before.isConnected) before.focus();
      });
    };
  }, []);
}
