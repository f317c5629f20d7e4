/** How many tiles stand beside each other, and how large they are. */

export interface TileLayout {
  columns: number;
  width: number;
  height: number;
}

const WIDEST = 16 / 9;
/** Upright screens crop the sides of a picture rather than waste half of the height. */
const NARROWEST_UPRIGHT = 0.75;
const NARROWEST_LANDSCAPE = 4 / 3;
/** Smaller tiles than this show nothing of use: then the grid scrolls. */
const LEAST_WIDTH_PX = 150;
const LEAST_HEIGHT_PX = 90;

/** `people` may be cropped a little; of a `screens` tile all is shown, and most screens are wide. */
export type TileKind = 'people' | 'screens';

/** The arrangement of `count` tiles that shows most of their pictures. */
export function bestLayout(count: number, width: number, height: number, gap: number, kind: TileKind = 'people'): TileLayout {
  const narrowest = kind === 'screens' ? WIDEST : width > height ? NARROWEST_LANDSCAPE : NARROWEST_UPRIGHT;
  let best: TileLayout = { columns: 1, width: 0, height: 0 };
  let bestShown = -1;
  for (let columns = 1; columns <= Math.max(1, count); columns += 1) {
    const rows = Math.ceil(count / columns);
    let w = (width - gap * (columns - 1)) / columns;
    let h = (height - gap * (rows - 1)) / rows;
    if (w / h > WIDEST) w = h * WIDEST;
    if (w / h < narrowest) h = w / narrowest;
    const shown = Math.min(w, h * (4 / 3)) * Math.min(h, w * (3 / 4));
    if (w > 0 && h > 0 && shown > bestShown) {
      best = { columns, width: Math.floor(w), height: Math.floor(h) };
      bestShown = shown;
    }
  }
  const leastHeight = Math.min(LEAST_HEIGHT_PX, height);
  const leastWidth = Math.min(LEAST_WIDTH_PX, width);
  if (best.height >= leastHeight && best.width >= leastWidth) return best;
  const columns = Math.max(1, Math.floor((width + gap) / (LEAST_WIDTH_PX + gap)));
  const w = Math.floor((width - gap * (columns - 1)) / columns);
  return { columns, width: Math.max(w, 0), height: Math.max(Math.floor(w / (4 / 3)), 0) };
}
