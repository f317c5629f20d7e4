/** How loud the microphone is, for the meter. */

/** Loudest level below which the meter shows nothing: room noise. */
const FLOOR_DB = -60;
const SAMPLES = 1024;

/** From a block of samples to 0 (silence) … 1 (full scale), linear in decibels as ears are. */
export function loudness(samples: Float32Array): number {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  const rms = Math.sqrt(sum / samples.length);
  if (rms === 0) return 0;
  const db = 20 * Math.log10(rms);
  return Math.min(1, Math.max(0, 1 - db / FLOOR_DB));
}

/** Calls back once per frame until the returned function is called. */
export function watchLevel(track: MediaStreamTrack, changed: (level: number) => void): () => void {
  const context = new AudioContext();
  const source = context.createMediaStreamSource(new MediaStream([track]));
  const analyser = context.createAnalyser();
  analyser.fftSize = SAMPLES;
  source.connect(analyser);
  // Opened by address, without a click: the context may wait for one.
  const resume = (): void => void context.resume().catch(() => undefined);
  resume();
  document.addEventListener('pointerdown', resume);
  document.addEventListener('keydown', resume);
  const samples = new Float32Array(SAMPLES);
  let level = 0;
  let frame = requestAnimationFrame(function look() {
    analyser.getFloatTimeDomainData(samples);
    // Quick up, slow down: a meter that can be read.
    level = Math.max(loudness(samples), level * 0.92);
    changed(level);
    frame = requestAnimationFrame(look);
  });
  return () => {
    cancelAnimationFrame(frame);
    document.removeEventListener('pointerdown', resume);
    document.removeEventListener('keydown', resume);
    void context.close().catch(() => undefined);
  };
}
