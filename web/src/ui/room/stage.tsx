import { computed } from '@preact/signals';
import type { JSX } from 'preact';
import { useMemo } from 'preact/hooks';
import { words } from '../../i18n/language';
import type { Participant } from '../../protocol/messages';
import type { Session } from '../../visit/session';
import { focusOf, screenKey } from '../../visit/view';
import { compact } from '../parts/media-query';
import { Grid, type Tile } from './grid';
import { PersonTile, ScreenTile } from './tile';

const SELF = 'self';

/** Everybody's tiles, each keyed by its participant, so that the others stay untouched when somebody comes or goes. */
export function Stage({ session }: { session: Session }): JSX.Element {
  const stage = useMemo(() => computed(() => describe(session)), [session]);
  const { focus, tiles, floating } = stage.value;
  const { view } = session;
  return (
    <div class={focus === undefined ? 'stage' : `stage with-focus ${focus.key.endsWith('/screen') ? 'with-screen' : ''}`}>
      {focus !== undefined && (
        <div key="focus" class="focus">
          {focus.render()}
        </div>
      )}
      {tiles.length > 0 && <Grid key="people" kind="people" tiles={tiles} first={SELF} recent={view.recent.value} page={view.page} />}
      {floating !== undefined && (
        <div key="self" class="floating">
          {floating.render()}
        </div>
      )}
    </div>
  );
}

interface Arrangement {
  /** Before all others. */
  focus: Tile | undefined;
  tiles: Tile[];
  /** The own picture, where it would take too much room among the others. */
  floating: Tile | undefined;
}

function describe(session: Session): Arrangement {
  const { call, view } = session;
  const people = [...call.participants.value.values()];
  const screens = people.filter(({ id, media }) => media.screen && call.slotOf(id, 'screen') !== undefined);
  const screenKeys = screens.map(({ id }) => screenKey(id));
  const looking = { mode: view.mode.value, pinned: view.pinned.value, recent: view.recent.value };
  const focus = focusOf(looking, people.map(({ id }) => id), screenKeys);

  const own: Tile = { key: SELF, render: () => ownTile(session) };
  const all: Tile[] = [
    ...screens.map((person) => ({ key: screenKey(person.id), render: () => screenTile(session, person) })),
    ...people.map((person) => ({ key: person.id, render: () => personTile(session, person, focus === person.id) })),
  ];
  const tiles = all.filter(({ key }) => key !== focus);
  // Beside one other person, and on small pages, it floats; alone there is nothing to float over.
  const floats = people.length > 0 && (compact.value || (people.length === 1 && screens.length === 0));
  const shown = view.selfShown.value || people.length === 0;
  if (shown && !floats) tiles.unshift(own);
  return { focus: all.find(({ key }) => key === focus), tiles, floating: shown && floats ? own : undefined };
}

function ownTile(session: Session): JSX.Element {
  const { call, media } = session;
  const own = media.state.value;
  return (
    <PersonTile
      name={session.name.value}
      you
      track={own.camera ? media.tracks.camera.value : null}
      muted={!own.microphone}
      speaking={call.speakers.value.includes(call.self.value ?? '') && own.microphone}
    />
  );
}

function personTile(session: Session, { id, name, media, connected }: Participant, large: boolean): JSX.Element {
  const { call, view } = session;
  const slot = call.slotOf(id, 'person');
  return (
    <PersonTile
      name={name}
      track={(media.camera && slot?.video) || null}
      muted={!media.microphone}
      speaking={call.speakers.value.includes(id) && media.microphone}
      away={!connected}
      still={call.still.value.has(id)}
      whole={large}
      pinned={view.pinned.value === id}
      onPin={() => view.togglePin(id)}
      onFrame={() => session.remoteFrameShown()}
    />
  );
}

function screenTile({ call, view }: Session, { id, name }: Participant): JSX.Element {
  const key = screenKey(id);
  return (
    <ScreenTile
      label={words.value.room.screenOf(name)}
      track={call.slotOf(id, 'screen')?.video ?? null}
      pinned={view.pinned.value === key}
      onPin={() => view.togglePin(key)}
    />
  );
}
