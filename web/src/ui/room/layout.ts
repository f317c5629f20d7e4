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
/** Smaller tiles than this show nothing of use: then there are pages. */
const LEAST_WIDTH_PX = 150;
const LEAST_HEIGHT_PX = 90;
/** On a page of a phone, and of anything larger: more faces than this nobody looks at. */
const PHONE_BELOW_PX = 600;
const MOST_ON_SHORT_PHONE = 6;
const MOST_ON_PHONE = 8;
const TALL_PHONE_PX = 560;
const MOST = 25;

/** How many tiles one page of these measures holds; at least one. */
export function capacity(width: number, height: number, gap: number): number {
  const fit = (length: number, least: number): number => Math.max(1, Math.floor((length + gap) / (least + gap)));
  const most = Math.min(width, height) >= PHONE_BELOW_PX ? MOST : Math.max(width, height) >= TALL_PHONE_PX ? MOST_ON_PHONE : MOST_ON_SHORT_PHONE;
  return Math.min(fit(width, LEAST_WIDTH_PX) * fit(height, LEAST_HEIGHT_PX), most);
}

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
  return best;
}
