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
    <section class="toolbar" aria-label={t.controls}>
      <Tool
        name={microphone ? t.mute : t.unmute}
        short={microphone ? t.muteShort : t.unmuteShort}
        state={microphone ? '' : 'off'}
        onClick={() => media.toggleMicrophone()}
      >
        {microphone ? <MicrophoneIcon /> : <MicrophoneOffIcon />}
      </Tool>
      <Tool
        name={camera ? t.cameraOff : t.cameraOn}
        short={camera ? t.cameraOffShort : t.cameraOnShort}
        state={camera ? '' : 'off'}
        onClick={() => void media.toggleCamera()}
      >
        {camera ? <CameraIcon /> : <CameraOffIcon />}
      </Tool>
      {media.canShareScreen && (
        <Tool
          name={screen ? t.stopSharing : t.share}
          short={screen ? t.stopSharingShort : t.shareShort}
          state={screen ? 'active' : ''}
          onClick={() => (screen ? media.stopScreen() : void media.shareScreen())}
        >
          {screen ? <ScreenStopIcon /> : <ScreenIcon />}
        </Tool>
      )}
      <Tool
        name={t.participants}
        short={t.participants}
        state={panelOpen ? 'active' : ''}
        expanded={panelOpen}
        buttonRef={panelButton}
        onClick={onPanel}
      >
        <PeopleIcon />
        {/* Drawn by the style sheet: the button's name stays its text. */}
        <span class="badge" aria-hidden="true" data-count={call.participants.value.size + 1} />
      </Tool>
      <Tool name={t.invite} short={t.invite} onClick={onInvite}>
        <InviteIcon />
      </Tool>
      <Tool name={t.settings} short={t.settings} onClick={onSettings}>
        <SettingsIcon />
      </Tool>
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
