import { words } from '../../i18n/language';
import type { LocalMedia } from '../../devices/media';
import type { Session } from '../../visit/session';
import {
  FlipIcon,
  FullScreenIcon,
  InviteIcon,
  KeyboardIcon,
  ScreenIcon,
  ScreenStopIcon,
  SettingsIcon,
  SmallWindowIcon,
  SpeakerViewIcon,
  TilesIcon,
} from '../parts/icons';
import { compact, finePointer } from '../parts/media-query';
import type { MenuGroup, MenuItem } from '../parts/menu';
import { canFullScreen, fullScreen, toggleFullScreen } from './full-screen';
import { canSmallWindow, toggleSmallWindow } from './small-window';

type DeviceKind = 'microphone' | 'camera' | 'speaker';

function devices(media: LocalMedia, kind: DeviceKind): MenuGroup {
  const t = words.value.devices;
  const chosen = media.chosen[kind].value;
  const known = media.devices.value[kind];
  const items = known.map(
    ({ deviceId, label }, index): MenuItem => ({
      label: label === '' ? `${t[kind]} ${index + 1}` : label,
      checked: deviceId === chosen,
      one: true,
      pick: () => void media.choose(kind, deviceId),
    }),
  );
  // What the browser chose by itself.
  if (items.length > 0 && !items.some(({ checked }) => checked)) {
    items.unshift({ label: t.systemDefault, checked: true, one: true, pick: () => undefined });
  }
  return { heading: t[kind], items };
}

const withItems = (groups: readonly MenuGroup[]): readonly MenuGroup[] => groups.filter(({ items }) => items.length > 0);

function settingsGroup({ panels }: Session): MenuGroup {
  return { items: [{ label: words.value.room.settings, icon: <SettingsIcon />, pick: () => panels.show('settings') }] };
}

export function microphoneMenu(session: Session): readonly MenuGroup[] {
  return withItems([devices(session.media, 'microphone'), devices(session.media, 'speaker'), settingsGroup(session)]);
}

export function cameraMenu(session: Session): readonly MenuGroup[] {
  return withItems([devices(session.media, 'camera'), settingsGroup(session)]);
}

export function moreMenu(session: Session): readonly MenuGroup[] {
  const t = words.value.room;
  const { media, panels, view } = session;
  const { screen } = media.state.value;
  const tiles = view.mode.value === 'tiles';
  const small = compact.value;
  const only = (condition: boolean, item: MenuItem): readonly MenuItem[] => (condition ? [item] : []);
  return withItems([
    {
      items: [
        { label: t.invite, icon: <InviteIcon />, pick: () => panels.show('invite') },
        ...only(small && media.devices.value.camera.length > 1 && media.state.value.camera, {
          label: t.flipCamera,
          icon: <FlipIcon />,
          pick: () => void media.nextCamera(),
        }),
        ...only(small && media.canShareScreen, {
          label: screen ? t.stopSharing : t.share,
          icon: screen ? <ScreenStopIcon /> : <ScreenIcon />,
          pick: () => (screen ? media.stopScreen() : void media.shareScreen()),
        }),
      ],
    },
    {
      items: [
        { label: tiles ? t.speakerView : t.tileView, icon: tiles ? <SpeakerViewIcon /> : <TilesIcon />, pick: () => view.toggleMode() },
        ...only(canFullScreen, {
          label: fullScreen.value ? t.endFullScreen : t.fullScreen,
          icon: <FullScreenIcon />,
          pick: toggleFullScreen,
        }),
        ...only(canSmallWindow, { label: t.pictureInPicture, icon: <SmallWindowIcon />, pick: () => void toggleSmallWindow(session) }),
        {
          label: t.showSelf,
          checked: view.selfShown.value,
          pick: () => {
            view.selfShown.value = !view.selfShown.value;
          },
        },
      ],
    },
    {
      items: [
        ...settingsGroup(session).items,
        ...only(finePointer.value || !small, { label: words.value.shortcuts.title, icon: <KeyboardIcon />, pick: () => panels.show('shortcuts') }),
      ],
    },
  ]);
}
