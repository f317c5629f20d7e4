import type { ComponentChildren, JSX } from 'preact';
import { words } from '../../i18n/language';
import type { Session } from '../../visit/session';
import {
  CameraIcon,
  CameraOffIcon,
  LeaveIcon,
  MicrophoneIcon,
  MicrophoneOffIcon,
  MoreIcon,
  PeopleIcon,
  ScreenIcon,
  ScreenStopIcon,
  UpIcon,
} from '../parts/icons';
import { compact } from '../parts/media-query';
import { MenuButton } from '../parts/menu';
import { cameraMenu, microphoneMenu, moreMenu } from './menus';

/** What is needed most has a place here; on small pages the rest is in the menu "More". */
export function Toolbar({ session }: { session: Session }): JSX.Element {
  const t = words.value.room;
  const { media, call, panels } = session;
  const { camera, screen } = media.state.value;
  const microphone = media.state.value.microphone;
  const small = compact.value;
  const people = panels.panel.value === 'people';
  return (
    <section class="toolbar" aria-label={t.controls}>
      <div class="tool-pair">
        <Tool
          name={microphone ? t.mute : t.unmute}
          short={microphone ? t.muteShort : t.unmuteShort}
          state={microphone ? '' : 'off'}
          onClick={() => media.toggleMicrophone()}
        >
          {microphone ? <MicrophoneIcon /> : <MicrophoneOffIcon />}
        </Tool>
        {!small && (
          <MenuButton name={t.chooseMicrophone} class="tool-more" groups={() => microphoneMenu(session)}>
            <UpIcon />
          </MenuButton>
        )}
      </div>
      <div class="tool-pair">
        <Tool
          name={camera ? t.cameraOff : t.cameraOn}
          short={camera ? t.cameraOffShort : t.cameraOnShort}
          state={camera ? '' : 'off'}
          onClick={() => void media.toggleCamera()}
        >
          {camera ? <CameraIcon /> : <CameraOffIcon />}
        </Tool>
        {!small && (
          <MenuButton name={t.chooseCamera} class="tool-more" groups={() => cameraMenu(session)}>
            <UpIcon />
          </MenuButton>
        )}
      </div>
      {media.canShareScreen && !small && (
        <Tool
          name={screen ? t.stopSharing : t.share}
          short={screen ? t.stopSharingShort : t.shareShort}
          state={screen ? 'active' : ''}
          onClick={() => (screen ? media.stopScreen() : void media.shareScreen())}
        >
          {screen ? <ScreenStopIcon /> : <ScreenIcon />}
        </Tool>
      )}
      <Tool name={t.participants} short={t.participants} state={people ? 'active' : ''} expanded={people} onClick={() => panels.toggle('people')}>
        <PeopleIcon />
        {/* Drawn by the style sheet: the button's name stays its text. */}
        <span class="badge" aria-hidden="true" data-count={call.participants.value.size + 1} />
      </Tool>
      <MenuButton name={t.more} class="tool" groups={() => moreMenu(session)}>
        <span class="tool-icon">
          <MoreIcon />
        </span>
        <span class="tool-text" aria-hidden="true">
          {t.more}
        </span>
      </MenuButton>
      <Tool name={t.leave} short={t.leave} state="leave" onClick={() => session.leave()}>
        <LeaveIcon />
      </Tool>
    </section>
  );
}

interface ToolProps {
  /** For screen readers; the short text below the icon is part of it. */
  name: string;
  short: string;
  state?: '' | 'off' | 'active' | 'leave';
  expanded?: boolean;
  onClick: () => void;
  children: ComponentChildren;
}

function Tool({ name, short, state = '', expanded, onClick, children }: ToolProps): JSX.Element {
  return (
    <button type="button" class={`tool ${state}`} aria-label={name} aria-expanded={expanded} onClick={onClick}>
      <span class="tool-icon">{children}</span>
      <span class="tool-text" aria-hidden="true">
        {short}
      </span>
    </button>
  );
}
