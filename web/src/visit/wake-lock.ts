/** Keeps the screen on until the returned function is called. The system takes the lock away with the page's sight. */
export function keepAwake(): () => void {
  let lock: WakeLockSentinel | undefined;
  let done = false;
  const request = async (): Promise<void> => {
    if (done || document.visibilityState !== 'visible' || (lock !== undefined && !lock.released)) return;
    try {
      lock = await navigator.wakeLock.request('screen');
      if (done) await lock.release();
    } catch {
      // An empty battery or an old browser: the screen does as the system likes.
    }
  };
  const again = (): void => void request();
  document.addEventListener('visibilitychange', again);
  again();
  return () => {
    done = true;
    document.removeEventListener('visibilitychange', again);
    void lock?.release().catch(() => undefined);
  };
}
