import type { ComponentChildren, JSX } from 'preact';
import { words } from '../../i18n/language';
import { settings } from '../../visit/settings';
import type { Session } from '../../visit/session';
import { CheckIcon, CloseIcon, InviteIcon, MicrophoneIcon, ScreenStopIcon, SoundIcon } from '../parts/icons';

/** What the person must know now, in one stack above the tiles. */
export function NoticeStack({ session }: { session: Session }): JSX.Element {
  const t = words.value;
  const { call, media, notices } = session;
  const link = session.link.value;
  return (
    <section class="notices" aria-label={t.room.noticesLabel}>
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
      {media.state.value.screen && (
        <div class="notice sharing">
          <p role="status">{t.room.youAreSharing}</p>
          <button type="button" class="danger" onClick={() => media.stopScreen()}>
            <ScreenStopIcon />
            {t.room.stopSharing}
          </button>
        </div>
      )}
      <Hearing session={session} />
      {call.participants.value.size === 0 && link === 'fine' && (
        <div class="notice hint">
          <p>
            <strong>{t.room.alone}</strong> {t.room.aloneHint}
          </p>
          <button type="button" class="secondary" onClick={() => session.panels.show('invite')}>
            <InviteIcon />
            {t.invite.inviteTitle}
          </button>
        </div>
      )}
      <div class={settings.notices.value ? 'news' : 'news visually-hidden'} role="log" aria-live="polite" aria-relevant="additions">
        {notices.list.value.map(({ id, text }) => (
          <p key={id} class="notice">
            {text}
          </p>
        ))}
      </div>
    </section>
  );
}

/** Why nobody hears or sees this person, and what helps. One sentence at a time, the worst first. */
function Hearing({ session }: { session: Session }): JSX.Element | null {
  const t = words.value;
  const { media, voice } = session;
  const microphone = media.trouble.microphone.value;
  const camera = media.trouble.camera.value;
  const trouble = [microphone && t.devices.troubleMicrophone[microphone], camera && t.devices.troubleCamera[camera]].filter(Boolean);
  if (trouble.length > 0) {
    return (
      <Warning onClose={() => media.acknowledgeTrouble()}>
        <p>{trouble.join(' ')}</p>
      </Warning>
    );
  }
  if (media.interrupted.microphone.value) return <Warning>{t.room.interrupted.microphone}</Warning>;
  if (media.interrupted.camera.value) return <Warning>{t.room.interrupted.camera}</Warning>;
  if (media.tracks.microphone.value === null && session.unheardShown.value) {
    return (
      <Warning
        onClose={() => {
          session.unheardShown.value = false;
        }}
      >
        <p>{t.room.noMicrophone}</p>
        <button type="button" class="secondary" onClick={() => media.toggleMicrophone()}>
          <MicrophoneIcon />
          {t.common.tryAgain}
        </button>
      </Warning>
    );
  }
  switch (voice.verdict.value) {
    case 'muted-speech':
      return (
        <Warning onClose={() => voice.acknowledge()}>
          <p>{t.room.mutedSpeech}</p>
        </Warning>
      );
    case 'dead':
      return (
        <Warning onClose={() => voice.acknowledge()}>
          <p>{t.room.unheard}</p>
        </Warning>
      );
    default:
      return null;
  }
}

function Warning({ children, onClose }: { children: ComponentChildren; onClose?: () => void }): JSX.Element {
  return (
    <div class="notice hint" role="alert">
      {children}
      {onClose !== undefined && (
        <button type="button" class="plain round" aria-label={words.value.common.close} onClick={onClose}>
          <CloseIcon />
        </button>
      )}
    </div>
  );
}
