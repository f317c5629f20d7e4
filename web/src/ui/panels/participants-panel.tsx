import type { JSX } from 'preact';
import { useRef } from 'preact/hooks';
import { words } from '../../i18n/language';
import type { MediaState } from '../../protocol/messages';
import type { Session } from '../../visit/session';
import { colourOf, initials } from '../parts/avatar';
import { AwayIcon, CameraIcon, CameraOffIcon, InviteIcon, MicrophoneIcon, MicrophoneOffIcon, MoreIcon, PinIcon, ScreenIcon, SpeakingIcon } from '../parts/icons';
import { MenuButton, type MenuGroup } from '../parts/menu';
import { useScrollable } from '../parts/scrollable';

export function ParticipantsPanel({ session }: { session: Session }): JSX.Element {
  const t = words.value;
  const { call, media, view } = session;
  const list = useRef<HTMLUListElement>(null);
  const scrollable = useScrollable(list);
  const speaking = new Set(call.speakers.value);
  return (
    <>
      <button type="button" class="secondary" onClick={() => session.panels.show('invite')}>
        <InviteIcon />
        {t.invite.inviteTitle}
      </button>
      <ul ref={list} class="people-list" aria-labelledby="panel-people" {...(scrollable && { tabIndex: 0 })}>
        <Person name={session.name.value} media={media.state.value} you speaking={speaking.has(call.self.value ?? '')} />
        {[...call.participants.value.values()].map(({ id, name, media: sends, connected }) => (
          <Person
            key={id}
            name={name}
            media={sends}
            speaking={speaking.has(id)}
            away={!connected}
            menu={() => [
              {
                items: [
                  {
                    label: view.pinned.value === id ? t.people.unpin : t.people.pin,
                    icon: <PinIcon />,
                    pick: () => view.togglePin(id),
                  },
                ],
              },
            ]}
          />
        ))}
      </ul>
    </>
  );
}

interface PersonProps {
  name: string;
  media: MediaState;
  you?: boolean;
  speaking?: boolean;
  away?: boolean;
  menu?: () => readonly MenuGroup[];
}

function Person({ name, media, you = false, speaking = false, away = false, menu }: PersonProps): JSX.Element {
  const t = words.value;
  return (
    <li>
      <span class={`avatar small colour-${colourOf(name)}`} aria-hidden="true">
        <span>{initials(name)}</span>
      </span>
      <span class="people-name">
        {name} {you && <span class="people-you">{t.room.you}</span>}
      </span>
      {away && <AwayIcon label={t.room.away} />}
      {media.screen && <ScreenIcon label={t.room.screenOf(name)} />}
      {media.camera ? <CameraIcon /> : <CameraOffIcon label={t.room.cameraIsOff} />}
      {!media.microphone && <MicrophoneOffIcon label={t.room.micMuted} />}
      {media.microphone && (speaking ? <SpeakingIcon label={t.room.speaking} /> : <MicrophoneIcon />)}
      {menu && (
        <MenuButton name={t.people.menu(name)} class="plain round person-menu" groups={menu}>
          <MoreIcon />
        </MenuButton>
      )}
    </li>
  );
}
