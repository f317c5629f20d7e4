import type { ComponentChildren, JSX, Ref } from 'preact';
import { words } from '../../i18n/language';
import {
  CameraIcon,
  CameraOffIcon,
  InviteIcon,
  LeaveIcon,
  MicrophoneIcon,
  MicrophoneOffIcon,
  PeopleIcon,
  ScreenIcon,
  ScreenStopIcon,
  SettingsIcon,
} from '../parts/icons';
import type { Session } from '../../visit/session';

interface ToolbarProps {
  session: Session;
  panelOpen: boolean;
  panelButton: Ref<HTMLButtonElement>;
  onPanel: () => void;
  onInvite: () => void;
  onSettings: () => void;
}

export function Toolbar({ session, panelOpen, panelButton, onPanel, onInvite, onSettings }: ToolbarProps): JSX.Element {
  const t = words.value;
  const { media, call } = session;
  const { microphone, camera, screen } = media.state.value;
  return (
    <section class="toolbar" aria-label={t.room.controls}>
      <Tool
        name={microphone ? t.room.mute : t.room.unmute}
        short={microphone ? t.room.muteShort : t.room.unmuteShort}
        state={microphone ? '' : 'off'}
        onClick={() => media.toggleMicrophone()}
      >
        {microphone ? <MicrophoneIcon /> : <MicrophoneOffIcon />}
      </Tool>
      <Tool
        name={camera ? t.room.cameraOff : t.room.cameraOn}
        short={camera ? t.room.cameraOffShort : t.room.cameraOnShort}
        state={camera ? '' : 'off'}
        onClick={() => void media.toggleCamera()}
      >
        {camera ? <CameraIcon /> : <CameraOffIcon />}
      </Tool>
      {media.canShareScreen && (
        <Tool
          name={screen ? t.room.stopSharing : t.room.share}
          short={screen ? t.room.stopSharingShort : t.room.shareShort}
          state={screen ? 'active' : ''}
          onClick={() => (screen ? media.stopScreen() : void media.shareScreen())}
        >
          {screen ? <ScreenStopIcon /> : <ScreenIcon />}
        </Tool>
      )}
      <Tool
        name={t.room.participants}
        short={t.room.participants}
        state={panelOpen ? 'active' : ''}
        expanded={panelOpen}
        buttonRef={panelButton}
        onClick={onPanel}
      >
        <PeopleIcon />
        {/* Drawn by the style sheet: the button's name stays its text. */}
        <span class="badge" aria-hidden="true" data-count={call.participants.value.size + 1} />
      </Tool>
      <Tool name={t.room.invite} short={t.room.invite} onClick={onInvite}>
        <InviteIcon />
      </Tool>
      <Tool name={t.room.settings} short={t.room.settings} onClick={onSettings}>
        <SettingsIcon />
      </Tool>
      <Tool name={t.room.leave} short={t.room.leave} state="leave" onClick={() => session.leave()}>
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
  buttonRef?: Ref<HTMLButtonElement>;
  onClick: () => void;
  children: ComponentChildren;
}

function Tool({ name, short, state = '', expanded, buttonRef, onClick, children }: ToolProps): JSX.Element {
  return (
    <button
      ref={buttonRef ?? null}
      type="button"
      class={`tool ${state}`}
      aria-label={name}
      aria-expanded={expanded}
      onClick={onClick}
    >
      <span class="tool-icon">{children}</span>
      <span class="tool-text" aria-hidden="true">
        {short}
      </span>
    </button>
  );
}
