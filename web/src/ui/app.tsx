import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useLayoutEffect } from 'preact/hooks';
import { language, words } from '../i18n/language';
import { DevicePage } from './pages/device-page';
import { FarewellPage } from './pages/farewell-page';
import { exposeCall } from '../visit/inspect';
import { RoomPage } from './room/room-page';
import { roomInAddress } from '../visit/routing';
import { Session } from '../visit/session';
import { StartPage } from './pages/start-page';

/** The visit to the room of the address. */
const session = signal<Session | undefined>(undefined);
/** The last attempt was refused for the person's name: the device page says so. */
const nameRefused = signal(false);
/** What the person had typed as their name when they cancelled a join. */
const typedName = signal<string | undefined>(undefined);

function enter(room: string): void {
  session.value?.dispose();
  session.value = new Session(room);
  exposeCall(session.value.call);
}

export function App(): JSX.Element | null {
  const room = roomInAddress.value;
  useLayoutEffect(() => {
    document.documentElement.lang = language.value;
  }, [language.value]);
  useLayoutEffect(() => {
    if (typeof RTCPeerConnection === 'undefined') return undefined;
    nameRefused.value = false;
    typedName.value = undefined;
    if (room !== undefined) enter(room);
    return () => {
      session.value?.dispose();
      session.value = undefined;
    };
  }, [room]);

  const current = session.value;
  const stage = current?.stage.value;
  const failure = stage === 'failed' ? current?.call.trouble.value : undefined;
  useEffect(() => {
    if (failure !== 'bad-name' || room === undefined) return;
    nameRefused.value = true;
    typedName.value = current?.name.value;
    enter(room);
  }, [failure]);
  useLayoutEffect(() => {
    // The room is dark and calm; everything else is as the system is.
    if (stage === 'joined') document.documentElement.dataset['theme'] = 'dark';
    else delete document.documentElement.dataset['theme'];
  }, [stage]);

  if (room === undefined) return <StartPage />;
  if (typeof RTCPeerConnection === 'undefined') return <p class="unsupported">{words.value.common.browserUnsupported}</p>;
  if (current === undefined || current.room !== room) return null;
  switch (stage) {
    case 'joined':
      return <RoomPage session={current} />;
    case 'left':
    case 'failed':
      return <FarewellPage room={current.call.roomTitle.value} failure={failure} onRejoin={() => enter(room)} />;
    default:
      return (
        <DevicePage
          key={current}
          session={current}
          nameRefused={nameRefused.value}
          typedName={typedName.value}
          onCancel={(name) => {
            typedName.value = name;
            enter(room);
          }}
        />
      );
  }
}
