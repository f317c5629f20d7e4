import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { words } from '../../i18n/language';
import { AudioOutputs } from './audio-outputs';
import { Dialog } from '../parts/dialog';
import { DeviceSelects } from '../parts/device-selects';
import { useFocusOnEntry } from '../parts/focus';
import { CheckIcon, CloseIcon, InviteIcon, SoundIcon } from '../parts/icons';
import { InviteDialog } from '../panels/invite-dialog';
import { LanguageSwitch } from '../parts/language-switch';
import { ParticipantsPanel } from '../panels/participants-panel';
import type { Session } from '../../visit/session';
import { Stage } from './stage';
import { Toolbar } from './toolbar';

export function RoomPage({ session }: { session: Session }): JSX.Element {
  const t = words.value;
  const { call } = session;
  const title = useFocusOnEntry<HTMLHeadingElement>();
  const panelButton = useRef<HTMLButtonElement>(null);
  const panel = useSignal(false);
  const dialog = useSignal<'invite' | 'settings' | undefined>(undefined);
  const room = call.roomTitle.value;

  useEffect(() => {
    document.title = `${room} – Plausch`;
  }, [room]);

  const closePanel = (): void => {
    panel.value = false;
    panelButton.current?.focus();
  };
  const closeDialog = (): void => {
    dialog.value = undefined;
  };
  const invite = (): void => {
    dialog.value = 'invite';
  };

  return (
    <div class="room">
      <main class="room-main" aria-label={t.room.conference}>
        <header class="room-head">
          <h1 ref={title} tabIndex={-1}>
            {room}
          </h1>
        </header>
        <Notices session={session} onInvite={invite} />
        <div class="room-middle">
          <Stage session={session} />
          {panel.value && <ParticipantsPanel session={session} onClose={closePanel} onInvite={invite} />}
        </div>
      </main>
      <Toolbar
        session={session}
        panelOpen={panel.value}
        panelButton={panelButton}
        onPanel={() => {
          if (panel.value) closePanel();
          else panel.value = true;
        }}
        onInvite={invite}
        onSettings={() => {
          dialog.value = 'settings';
        }}
      />
      <AudioOutputs session={session} />
      <p class="visually-hidden" aria-live="polite">
        {session.news.value}
      </p>
      {dialog.value === 'invite' && <InviteDialog room={room} onClose={closeDialog} />}
      {dialog.value === 'settings' && (
        <Dialog title={t.room.settings} onClose={closeDialog}>
          <DeviceSelects media={session.media} />
          <div class="field">
            <span aria-hidden="true">{t.common.language}</span>
            <LanguageSwitch />
          </div>
        </Dialog>
      )}
    </div>
  );
}

/** What the person must know now, above the tiles. */
function Notices({ session, onInvite }: { session: Session; onInvite: () => void }): JSX.Element {
  const t = words.value;
  const { call, media } = session;
  const link = session.link.value;
  const alone = call.participants.value.size === 0 && link === 'fine';
  const microphone = media.trouble.microphone.value;
  const camera = media.trouble.camera.value;
  const trouble = [microphone && t.devices.troubleMicrophone[microphone], camera && t.devices.troubleCamera[camera]].filter(Boolean);
  return (
    <div class="notices">
      <p role="status" class={`notice ${link}`}>
        {link === 'lost' && (
          <>
            <span class="spinner" aria-hidden="true" />
            {t.room.lost}
          </>
        )}
        {link === 'back' && (
          <>
            <CheckIcon />
            {t.room.back}
          </>
        )}
      </p>
      {session.soundBlocked.value && (
        <button
          type="button"
          class="primary sound-on"
          onClick={() => {
            session.soundBlocked.value = false;
          }}
        >
          <SoundIcon />
          {t.room.soundOn}
        </button>
      )}
      {trouble.length > 0 && (
        <div class="notice hint" role="alert">
          <p>{trouble.join(' ')}</p>
          <button type="button" class="plain round" aria-label={t.common.close} onClick={() => media.acknowledgeTrouble()}>
            <CloseIcon />
          </button>
        </div>
      )}
      {alone && (
        <div class="notice hint">
          <p>
            <strong>{t.room.alone}</strong> {t.room.aloneHint}
          </p>
          <button type="button" class="secondary" onClick={onInvite}>
            <InviteIcon />
            {t.invite.inviteTitle}
          </button>
        </div>
      )}
      {media.state.value.screen && <p class="visually-hidden" aria-live="polite">{t.room.sharingNow}</p>}
    </div>
  );
}
