import type { JSX } from 'preact';
import { useRef, useState } from 'preact/hooks';
import { words } from '../../i18n/language';
import { shownLink } from '../../visit/room-names';
import { Dialog } from '../parts/dialog';
import { CheckIcon, SendIcon } from '../parts/icons';

export function InviteDialog({ room, onClose }: { room: string; onClose: () => void }): JSX.Element {
  const t = words.value;
  const field = useRef<HTMLInputElement>(null);
  const [copied, setCopied] = useState(false);
  const address = location.origin + location.pathname;
  const text = `${t.invite.shareMessage(room)}\n${address}`;

  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(address);
    } catch {
      // Without permission or https: the old way.
      field.current?.select();
      if (!document.execCommand('copy')) return;
    }
    setCopied(true);
  };

  return (
    <Dialog title={t.invite.inviteTitle} onClose={onClose}>
      <p>{t.invite.inviteText}</p>
      <label class="field">
        <span>{t.invite.inviteLink}</span>
        <input ref={field} class="address" value={shownLink(address)} readOnly onFocus={(event) => event.currentTarget.select()} />
      </label>
      <div class="dialog-actions">
        <button type="button" class="primary" onClick={() => void copy()}>
          {copied && <CheckIcon />}
          {t.invite.copy}
        </button>
        <a class="button secondary" href={`mailto:?subject=${encodeURIComponent(room)}&body=${encodeURIComponent(text)}`}>
          {t.invite.mail}
        </a>
        {typeof navigator.share === 'function' && (
          <button
            type="button"
            class="secondary"
            onClick={() => {
              navigator.share({ title: room, text: t.invite.shareMessage(room), url: address }).catch(() => undefined);
            }}
          >
            <SendIcon />
            {t.invite.shareSheet}
          </button>
        )}
      </div>
      <p role="status" class="advice">
        {copied && t.invite.copied}
      </p>
    </Dialog>
  );
}
