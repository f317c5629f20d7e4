import type { JSX } from 'preact';
import { useRef } from 'preact/hooks';
import { words } from '../../i18n/language';
import { colourOf, initials } from '../parts/avatar';
import { useFocusOnEntry } from '../parts/focus';
import { CameraIcon, CameraOffIcon, CloseIcon, InviteIcon, MicrophoneIcon, MicrophoneOffIcon, ScreenIcon } from '../parts/icons';
import { useScrollable } from '../parts/scrollable';
import type { Session } from '../../visit/session';
import type { MediaState } from '../../protocol/messages';

interface PanelProps {
  session: Session;
  onClose: () => void;
  onInvite: () => void;
}

export function ParticipantsPanel({ session, onClose, onInvite }: PanelProps): JSX.Element {
  const t = words.value;
  const title = useFocusOnEntry<HTMLHeadingElement>();
  const list = useRef<HTMLUListElement>(null);
  const scrollable = useScrollable(list);
  return (
    <aside
      id="participants"
      class="panel"
      aria-labelledby="participants-title"
      onKeyDown={(event) => {
        if (event.key === 'Escape') onClose();
      }}
    >
      <header class="panel-head">
        <h2 ref={title} id="participants-title" tabIndex={-1}>
          {t.room.participants}
        </h2>
        <button type="button" class="plain round" aria-label={t.common.close} onClick={onClose}>
          <CloseIcon />
        </button>
      </header>
      <ul ref={list} class="people-list" {...(scrollable && { tabIndex: 0 })}>
        <Person name={session.name.value} media={session.media.state.value} you />
        {[...session.call.participants.value.values()].map(({ id, name, media }) => (
          <Person key={id} name={name} media={media} />
        ))}
      </ul>
      <button type="button" class="secondary" onClick={onInvite}>
        <InviteIcon />
        {t.invite.inviteTitle}
      </button>
    </aside>
  );
}

function Person({ name, media, you = false }: { name: string; media: MediaState; you?: boolean }): JSX.Element {
  const t = words.value;
  return (
    <li>
      <span class={`avatar small colour-${colourOf(name)}`} aria-hidden="true">
        <span>{initials(name)}</span>
      </span>
      <span class="people-name">
        {name} {you && <span class="people-you">{t.room.you}</span>}
      </span>
      {media.screen && <ScreenIcon label={t.room.screenOf(name)} />}
      {media.camera ? <CameraIcon /> : <CameraOffIcon label={t.room.cameraIsOff} />}
      {media.microphone ? <MicrophoneIcon /> : <MicrophoneOffIcon label={t.room.micMuted} />}
    </li>
  );
}
