import type { JSX } from 'preact';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';

interface VideoProps {
  track: MediaStreamTrack;
  mirrored?: boolean;
  /** Show all of it, as for a screen. */
  whole?: boolean;
  label?: string;
  onFrame?: (() => void) | undefined;
}

/** The own picture is mirrored, as people know themselves, but not that of a phone's rear camera. */
export function isMirrored(track: MediaStreamTrack): boolean {
  return track.getSettings().facingMode !== 'environment';
}

/** A picture without sound (that comes from `AudioOutputs`), so that browsers always let it play. */
export function Video({ track, mirrored = false, whole = false, label, onFrame }: VideoProps): JSX.Element {
  const element = useRef<HTMLVideoElement>(null);
  // Until the first picture is there, what lies beneath shows through: no black flash.
  const [shown, setShown] = useState(false);

  useLayoutEffect(() => {
    const video = element.current;
    if (video === null) return undefined;
    setShown(false);
    video.srcObject = new MediaStream([track]);
    video.play().catch(() => undefined);
    let request = 0;
    const first = (): void => {
      setShown(true);
      onFrame?.();
    };
    const byFrame = typeof video.requestVideoFrameCallback === 'function';
    if (byFrame) request = video.requestVideoFrameCallback(first);
    else video.addEventListener('loadeddata', first);
    return () => {
      if (byFrame) video.cancelVideoFrameCallback(request);
      else video.removeEventListener('loadeddata', first);
      video.srcObject = null;
    };
  }, [track]);

  const classes = ['video', mirrored && 'mirrored', whole && 'whole', shown && 'shown'].filter(Boolean).join(' ');
  return <video ref={element} class={classes} autoplay playsinline muted disablepictureinpicture aria-label={label} />;
}
