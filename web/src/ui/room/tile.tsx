import type { JSX } from 'preact';
import { words } from '../../i18n/language';
import { colourOf, initials } from '../parts/avatar';
import { AwayIcon, MicrophoneOffIcon } from '../parts/icons';
import { isMirrored, Video } from '../parts/video';

export interface TileProps {
  name: string;
  /** The picture, when there is one. */
  track: MediaStreamTrack | null;
  you?: boolean;
  muted?: boolean;
  speaking?: boolean;
  away?: boolean;
  onFrame?: () => void;
}

/** One person. */
export function PersonTile({ name, track, you = false, muted, speaking, away, onFrame }: TileProps): JSX.Element {
  const t = words.value;
  const classes = ['tile', speaking && 'speaking', away && 'away', you && 'own'].filter(Boolean).join(' ');
  return (
    <div class={classes} role="group" aria-label={name}>
      <div class={`avatar colour-${colourOf(name)}`} aria-hidden="true">
        <span>{initials(name)}</span>
      </div>
      {track !== null && <Video track={track} mirrored={you && isMirrored(track)} onFrame={onFrame} />}
      <div class="caption">
        {away && <AwayIcon label={t.room.away} />}
        {muted && <MicrophoneOffIcon label={t.room.micMuted} />}
        <span class="caption-name">{name}</span>
        {you && <span class="caption-you">{t.room.you}</span>}
      </div>
    </div>
  );
}

/** A shared screen; all of it is shown, nothing is cropped. */
export function ScreenTile({ label, track }: { label: string; track: MediaStreamTrack | null }): JSX.Element {
  return (
    <div class="tile screen" role="group" aria-label={label}>
      {track !== null && <Video track={track} whole />}
      <div class="caption">
        <span class="caption-name">{label}</span>
      </div>
    </div>
  );
}
