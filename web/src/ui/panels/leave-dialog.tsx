import type { JSX } from 'preact';
import { words } from '../../i18n/language';
import type { Session } from '../../visit/session';
import { Dialog } from '../parts/dialog';
import { LeaveIcon } from '../parts/icons';

/** For whom "Back" may have been a slip. */
export function LeaveDialog({ session, onClose }: { session: Session; onClose: () => void }): JSX.Element {
  const t = words.value;
  return (
    <Dialog title={t.leaving.title} onClose={onClose}>
      <p>{t.leaving.text}</p>
      <div class="dialog-actions">
        <button type="button" class="secondary" onClick={onClose}>
          {t.leaving.stay}
        </button>
        <button type="button" class="danger" onClick={() => session.leave()}>
          <LeaveIcon />
          {t.room.leave}
        </button>
      </div>
    </Dialog>
  );
}
