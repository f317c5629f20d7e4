import type { JSX } from 'preact';
import { useMemo } from 'preact/hooks';
import { words } from '../../i18n/language';
import { drawSeeds, extendName } from '../../visit/room-names';
import { WarningIcon } from './icons';

interface GuessableProps {
  room: string;
  /** Said for a room that somebody else may have named. */
  byLink?: boolean;
  onTake: (proposal: string) => void;
}

/** Strangers may guess this name: what would be better, at a click. */
export function GuessableWarning({ room, byLink = false, onTake }: GuessableProps): JSX.Element {
  const t = words.value.start;
  // The same all the time: a proposal that changes with each letter cannot be read.
  const seeds = useMemo(drawSeeds, []);
  const proposal = extendName(room, t.roomPlaces, seeds);
  return (
    <div class="warning-box">
      <WarningIcon />
      <p>{byLink ? t.roomGuessableByLink(proposal) : t.roomGuessable(proposal)}</p>
      <button type="button" class="secondary" onClick={() => onTake(proposal)}>
        {t.roomTake}
      </button>
    </div>
  );
}
