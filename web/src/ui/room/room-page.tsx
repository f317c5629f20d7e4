import type { JSX } from 'preact';
import { useEffect } from 'preact/hooks';
import { words } from '../../i18n/language';
import type { Session } from '../../visit/session';
import { InviteDialog } from '../panels/invite-dialog';
import { LeaveDialog } from '../panels/leave-dialog';
import { SettingsDialog } from '../panels/settings-dialog';
import { ShortcutsDialog } from '../panels/shortcuts-dialog';
import { SidePanel } from '../panels/side-panel';
import { useFocusOnEntry } from '../parts/focus';
import { AudioOutputs } from './audio-outputs';
import { NoticeStack } from './notices';
import { useShortcuts } from './shortcuts';
import { Stage } from './stage';
import { Toolbar } from './toolbar';

export function RoomPage({ session }: { session: Session }): JSX.Element {
  const t = words.value.room;
  const title = useFocusOnEntry<HTMLHeadingElement>();
  const room = session.call.roomTitle.value;
  useShortcuts(session);
  useEffect(() => {
    document.title = `${room} – Plausch`;
  }, [room]);

  return (
    <div class="room">
      <main class="room-main" aria-label={t.conference}>
        <header class="room-head">
          <h1 ref={title} tabIndex={-1}>
            {room}
          </h1>
        </header>
        <div class="room-middle">
          <div class="room-stage">
            <Stage session={session} />
            <NoticeStack session={session} />
            {session.talking.value && (
              <p class="talking" role="status">
                {t.pushToTalk}
              </p>
            )}
          </div>
          <SidePanel session={session} />
        </div>
      </main>
      <Toolbar session={session} />
      <AudioOutputs session={session} />
      <OpenDialog session={session} room={room} />
    </div>
  );
}

function OpenDialog({ session, room }: { session: Session; room: string }): JSX.Element | null {
  const close = (): void => session.panels.closeDialog();
  switch (session.panels.dialog.value) {
    case 'invite':
      return <InviteDialog room={room} onClose={close} />;
    case 'settings':
      return <SettingsDialog session={session} onClose={close} />;
    case 'shortcuts':
      return <ShortcutsDialog onClose={close} />;
    case 'leave':
      return <LeaveDialog session={session} onClose={close} />;
    default:
      return null;
  }
}
