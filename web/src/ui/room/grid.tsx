import { useSignal, type Signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { words } from '../../i18n/language';
import { arrange } from '../../visit/view';
import { NextIcon, PreviousIcon } from '../parts/icons';
import { bestLayout, capacity, type TileKind } from './layout';

export const GAP_PX = 8;
/** A finger that moves this far sideways turns the page. */
const SWIPE_PX = 60;

export interface Tile {
  key: string;
  render: () => JSX.Element;
}

interface GridProps {
  kind: TileKind;
  tiles: readonly Tile[];
  /** Whose tile stays on the first page whoever speaks. */
  first?: string;
  /** Keys of tiles, the latest speaker first: they come to the first page. */
  recent: readonly string[];
  page: Signal<number>;
}

/** Tiles in pages; only those of the page at hand are in the document, so there are no more players than pictures seen. */
export function Grid({ kind, tiles, first, recent, page }: GridProps): JSX.Element {
  const element = useRef<HTMLDivElement>(null);
  const size = useSignal({ width: 0, height: 0 });
  const order = useRef<readonly string[]>([]);
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

  const { width, height } = size.value;
  const places = width === 0 ? 0 : capacity(width, height, GAP_PX);
  const fixed = first !== undefined && tiles.some(({ key }) => key === first) ? [first] : [];
  const others = tiles.map(({ key }) => key).filter((key) => !fixed.includes(key));
  const arranged = arrange(others, recent, Math.max(places - fixed.length, 0), order.current);
  useEffect(() => {
    order.current = arranged;
  });
  const pages = places === 0 ? 1 : Math.ceil(tiles.length / places);
  const at = Math.min(page.value, pages - 1);
  const byKey = new Map(tiles.map((tile) => [tile.key, tile]));
  const shown = [...fixed, ...arranged].slice(at * places, (at + 1) * places).flatMap((key) => byKey.get(key) ?? []);
  // The last page has tiles of the same size as the others.
  const layout = bestLayout(pages > 1 ? places : shown.length, width, height, GAP_PX, kind);
  const turn = (by: number): void => {
    page.value = Math.max(0, Math.min(pages - 1, at + by));
  };

  const touch = useRef<number | undefined>(undefined);
  return (
    <div
      class={`pages ${kind}`}
      onTouchStart={(event) => {
        touch.current = event.touches.length === 1 ? event.touches[0]?.clientX : undefined;
      }}
      onTouchEnd={(event) => {
        const moved = (event.changedTouches[0]?.clientX ?? 0) - (touch.current ?? Number.NaN);
        touch.current = undefined;
        if (Math.abs(moved) > SWIPE_PX) turn(moved < 0 ? 1 : -1);
      }}
    >
      <div ref={element} class="grid" style={{ '--tile-width': `${layout.width}px`, '--tile-height': `${layout.height}px` }}>
        {shown.map(({ key, render }) => (
          <div key={key} class="cell">
            {render()}
          </div>
        ))}
      </div>
      {pages > 1 && <Pager at={at} pages={pages} turn={turn} />}
    </div>
  );
}

function Pager({ at, pages, turn }: { at: number; pages: number; turn: (by: number) => void }): JSX.Element {
  const t = words.value.room;
  return (
    <nav class="pager" aria-label={t.pages}>
      <button type="button" class="plain round" aria-label={t.previousPage} aria-disabled={at === 0} onClick={() => turn(-1)}>
        <PreviousIcon />
      </button>
      <p role="status">
        <span aria-hidden="true">
          {at + 1} / {pages}
        </span>
        <span class="visually-hidden">{t.pageOf(at + 1, pages)}</span>
      </p>
      <button type="button" class="plain round" aria-label={t.nextPage} aria-disabled={at === pages - 1} onClick={() => turn(1)}>
        <NextIcon />
      </button>
    </nav>
  );
}
