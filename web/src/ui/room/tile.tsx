import type { ComponentChildren, JSX } from 'preact';
import { words } from '../../i18n/language';
import { colourOf, initials } from '../parts/avatar';
import { AwayIcon, MicrophoneOffIcon, PinIcon, StillIcon } from '../parts/icons';
import { isMirrored, Video } from '../parts/video';

interface PinProps {
  pinned?: boolean;
  /** Pins the tile or lets it go. */
  onPin?: () => void;
}

export interface TileProps extends PinProps {
  name: string;
  /** The picture, when there is one. */
  track: MediaStreamTrack | null;
  you?: boolean;
  muted?: boolean;
  speaking?: boolean;
  away?: boolean;
  /** The picture stands still though it is on. */
  still?: boolean;
  /** All of the picture instead of one that fills the tile. */
  whole?: boolean;
  onFrame?: () => void;
  children?: ComponentChildren;
}

/** One person. */
export function PersonTile(props: TileProps): JSX.Element {
  const { name, track, you = false, muted, speaking, away, still, whole = false, onFrame, children } = props;
  const t = words.value.room;
  const classes = ['tile', speaking && 'speaking', (away || still) && 'away', you && 'own'].filter(Boolean).join(' ');
  return (
    <div class={classes} role="group" aria-label={name}>
      <div class={`avatar colour-${colourOf(name)}`} aria-hidden="true">
        <span>{initials(name)}</span>
      </div>
      {track !== null && <Video track={track} mirrored={you && isMirrored(track)} whole={whole} onFrame={onFrame} />}
      {children}
      <Pin {...props} />
      <div class="caption">
        {away && <AwayIcon label={t.away} />}
        {still && !away && <StillIcon label={t.frozen} />}
        {muted && <MicrophoneOffIcon label={t.micMuted} />}
        <span class="caption-name">{name}</span>
        {you && <span class="caption-you">{t.you}</span>}
        {/* Read when somebody comes by, and not called out with each word that is said. */}
        {speaking && <span class="visually-hidden">{t.speaking}</span>}
      </div>
    </div>
  );
}

interface ScreenProps extends PinProps {
  label: string;
  track: MediaStreamTrack | null;
}

/** A shared screen; all of it is shown, nothing is cropped. */
export function ScreenTile({ label, track, ...pin }: ScreenProps): JSX.Element {
  return (
    <div class="tile screen" role="group" aria-label={label}>
      {track !== null && <Video track={track} whole />}
      <Pin name={label} {...pin} />
      <div class="caption">
        <span class="caption-name">{label}</span>
      </div>
    </div>
  );
}

function Pin({ name, pinned = false, onPin }: PinProps & { name: string }): JSX.Element | null {
  const t = words.value.room;
  if (onPin === undefined) return null;
  return (
    <button type="button" class={pinned ? 'pin pinned' : 'pin'} aria-label={pinned ? t.unpin(name) : t.pin(name)} onClick={onPin}>
      <PinIcon />
    </button>
  );
}
