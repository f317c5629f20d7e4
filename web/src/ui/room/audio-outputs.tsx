import type { JSX } from 'preact';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import type { Session } from '../../visit/session';

/** One invisible player per slot that somebody is in. Pictures are silent, so sound does not depend on tiles. */
export function AudioOutputs({ session }: { session: Session }): JSX.Element {
  const outputs = session.call.slots.value.flatMap(({ participant, source }) => {
    const slot = session.call.slotOf(participant, source);
    return slot === undefined ? [] : [slot];
  });
  return (
    <div class="audio-outputs" hidden>
      {outputs.map(({ index, audio }) => (
        <AudioOutput key={index} track={audio} session={session} />
      ))}
    </div>
  );
}

function AudioOutput({ track, session }: { track: MediaStreamTrack; session: Session }): JSX.Element {
  const element = useRef<HTMLAudioElement>(null);
  const speaker = session.media.chosen.speaker.value;
  const blocked = session.soundBlocked.value;

  useLayoutEffect(() => {
    const audio = element.current;
    if (audio === null) return undefined;
    audio.srcObject = new MediaStream([track]);
    return () => {
      audio.srcObject = null;
    };
  }, [track]);

  // Also when the person has just turned the sound on.
  useLayoutEffect(() => {
    if (blocked) return;
    element.current?.play().catch((error: unknown) => {
      if (error instanceof DOMException && error.name === 'NotAllowedError') session.soundBlocked.value = true;
    });
  }, [track, blocked]);

  useEffect(() => {
    const audio = element.current;
    if (audio === null || typeof audio.setSinkId !== 'function' || (speaker === '' && audio.sinkId === '')) return;
    // A loudspeaker that was unplugged: the browser's own choice goes on.
    audio.setSinkId(speaker).catch(() => undefined);
  }, [speaker]);

  return <audio ref={element} autoplay />;
}
