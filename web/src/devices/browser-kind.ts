/** Browsers in which a permission is given back in the same way. */
export type BrowserKind = 'chromium' | 'chromiumPhone' | 'firefox' | 'firefoxPhone' | 'safari' | 'iphone' | 'other';

/**
 * Which browser this is, for instructions only: a wrong guess costs a sentence that does not fit. `touch`: the device
 * has a touch screen, by which an iPad is told from a Mac.
 */
export function browserKind(agent: string, touch: boolean): BrowserKind {
  // Every browser on iOS is Safari in other clothes.
  if (/iPhone|iPad|iPod/u.test(agent) || (touch && /Macintosh/u.test(agent) && /Safari\//u.test(agent))) return 'iphone';
  const phone = /Android|Mobile/u.test(agent);
  if (/Firefox\//u.test(agent)) return phone ? 'firefoxPhone' : 'firefox';
  if (/Chrom(?:e|ium)\//u.test(agent)) return phone ? 'chromiumPhone' : 'chromium';
  if (/Safari\//u.test(agent)) return 'safari';
  return 'other';
}
