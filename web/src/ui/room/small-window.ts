import { effect } from '@preact/signals';
import type { Session } from '../../visit/session';
import { focusOf, screenKey } from '../../visit/view';

export const canSmallWindow = typeof HTMLVideoElement.prototype.requestPictureInPicture === 'function' && document.pictureInPictureEnabled;

/** The track of whoever is to be seen in a small window above other programs: the pinned tile, a screen or the speaker. */
function trackFor({ call, view }: Session): MediaStreamTrack | undefined {
  const people = [...call.participants.value.values()];
  const pictures = people.filter(({ media }) => media.camera).map(({ id }) => id);
  const screens = people.filter(({ media }) => media.screen).map(({ id }) => screenKey(id));
  const focus = focusOf({ mode: 'speaker', pinned: view.pinned.value, recent: view.recent.value }, pictures, screens);
  const [participant = ''] = focus?.split('/') ?? [];
  return call.slotOf(participant, focus?.endsWith('/screen') ? 'screen' : 'person')?.video;
}

/** Opens the small window, or closes it. It follows the speaker until the person closes it or leaves. */
export async function toggleSmallWindow(session: Session): Promise<void> {
  if (document.pictureInPictureElement !== null) {
    await document.exitPictureInPicture();
    return;
  }
  const video = document.createElement('video');
  video.muted = true;
  const stop = effect(() => {
    const track = trackFor(session);
    const over = session.stage.value !== 'joined';
    if (over) void document.exitPictureInPicture().catch(() => undefined);
    else if (track !== undefined) video.srcObject = new MediaStream([track]);
  });
  try {
    await video.play();
    await video.requestPictureInPicture();
    video.addEventListener('leavepictureinpicture', () => {
      stop();
      video.srcObject = null;
    });
  } catch {
    // No picture yet, or the browser says no.
    stop();
    video.srcObject = null;
  }
}
