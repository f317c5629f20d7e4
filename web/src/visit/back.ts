/** What the browser's "Back" closes instead of the page: the topmost layer first. */

interface Layer {
  back: () => void;
}

const layers: Layer[] = [];
/** Steps back that are our own, and not yet made. */
let owed = 0;
let travelling = false;

addEventListener('popstate', () => {
  if (travelling) {
    travelling = false;
    settle();
  } else {
    layers.pop()?.back();
  }
});

/** `back` is called once when the person goes back. The function that is returned takes the layer away without it. */
export function onBack(back: () => void): () => void {
  const layer = { back };
  layers.push(layer);
  // The same address and state: the page behind it is the same one.
  history.pushState(history.state, '');
  return () => {
    const index = layers.indexOf(layer);
    if (index < 0) return;
    layers.splice(index, 1);
    owed += 1;
    queueMicrotask(settle);
  };
}

/** Gives back the entries of layers that are gone, in one step. */
function settle(): void {
  if (travelling || owed === 0) return;
  travelling = true;
  history.go(-owed);
  owed = 0;
}

/** The page goes away: what is left of its entries stays with the browser. */
export function forgetLayers(): void {
  layers.length = 0;
  owed = 0;
}
