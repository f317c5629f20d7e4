import type { JSX } from 'preact';
import { words } from '../../i18n/language';
import type { Session } from '../../visit/session';

/** In a form that joins: the person is in this room already, in another window of this browser. */
export function Elsewhere({ session }: { session: Session }): JSX.Element | null {
  const t = words.value.leaving;
  if (!session.windows.elsewhere.value) return null;
  return (
    <div class="trouble" role="status">
      <p>{t.elsewhere}</p>
      <button
        type="submit"
        class="secondary"
        onClick={() => {
          session.moving = true;
        }}
      >
        {t.moveHere}
      </button>
    </div>
  );
}
