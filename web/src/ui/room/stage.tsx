import { computed, useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import { useLayoutEffect, useMemo, useRef } from 'preact/hooks';
import { words } from '../../i18n/language';
import { bestLayout, type TileKind } from './layout';
import { useScrollable } from '../parts/scrollable';
import type { Session } from '../../visit/session';
import { PersonTile, ScreenTile } from './tile';

const GAP_PX = 8;

interface Tile {
  key: string;
  render: () => JSX.Element;
}

/** Everybody's tiles, each keyed by its participant, so that the others stay untouched when somebody comes or goes. */
export function Stage({ session }: { session: Session }): JSX.Element {
  const tiles = useMemo(() => computed(() => describe(session)), [session]);
  const { people, screens } = tiles.value;
  return (
    <div class={screens.length > 0 ? 'stage with-screen' : 'stage'}>
      {screens.length > 0 && <Grid key="screens" kind="screens" tiles={screens} />}
      <Grid key="people" kind="people" tiles={people} />
    </div>
  );
}

function describe(session: Session): { people: Tile[]; screens: Tile[] } {
  const t = words.value;
  const { call, media } = session;
  const speakers = new Set(call.speakers.value);
  const self = call.self.value ?? '';
  const own = media.state.value;
  const people: Tile[] = [
    {
      key: 'self',
      render: () => (
        <PersonTile
          name={session.name.value}
          you
          track={media.tracks.camera.value}
          muted={!own.microphone}
          speaking={speakers.has(self) && own.microphone}
        />
      ),
    },
  ];
  const screens: Tile[] = [];
  const ownScreen = media.tracks.screen.value;
  if (ownScreen !== null) {
    screens.push({ key: 'self', render: () => <ScreenTile label={t.room.yourScreen} track={ownScreen} /> });
  }
  for (const { id, name, media: sends, connected } of call.participants.value.values()) {
    const slot = call.slotOf(id, 'person');
    people.push({
      key: id,
      render: () => (
        <PersonTile
          name={name}
          track={(sends.camera && slot?.video) || null}
          muted={!sends.microphone}
          speaking={speakers.has(id) && sends.microphone}
          away={!connected}
          onFrame={() => session.remoteFrameShown()}
        />
      ),
    });
    const screen = sends.screen ? call.slotOf(id, 'screen') : undefined;
    if (screen !== undefined) {
      screens.push({ key: id, render: () => <ScreenTile label={t.room.screenOf(name)} track={screen.video} /> });
    }
  }
  return { people, screens };
}

function Grid({ kind, tiles }: { kind: TileKind; tiles: Tile[] }): JSX.Element {
  const element = useRef<HTMLDivElement>(null);
  const size = useSignal({ width: 0, height: 0 });
  useLayoutEffect(() => {
    const grid = element.current;
    if (grid === null) return undefined;
    const measure = (): void => {
      const { clientWidth: width, clientHeight: height } = grid;
      if (width !== size.peek().width || height !== size.peek().height) size.value = { width, height };
    };
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(grid);
    return () => observer.disconnect();
  }, []);
  const { width, height } = bestLayout(tiles.length, size.value.width, size.value.height, GAP_PX, kind);
  const scrollable = useScrollable(element);
  return (
    <div
      ref={element}
      class={`grid ${kind}`}
      {...(scrollable && { tabIndex: 0, role: 'region', 'aria-label': words.value.room.conference })}
      style={{ '--tile-width': `${width}px`, '--tile-height': `${height}px` }}
    >
      {tiles.map(({ key, render }) => (
        <div key={key} class="cell">
          {render()}
        </div>
      ))}
    </div>
  );
}
