/** A short chime, by which people hear whether their loudspeaker works. */

const SAMPLE_RATE = 48_000;
const SECONDS = 1.2;
/** A fifth, one after the other. */
const NOTES_HZ = [523.25, 783.99];
const PEAK = 0.35;

/** Plays it on a loudspeaker of `enumerateDevices`; empty: the system's choice. Ends when it was heard. */
export async function playTestTone(speaker: string): Promise<void> {
  const url = URL.createObjectURL(new Blob([wav(tone())], { type: 'audio/wav' }));
  const audio = new Audio(url);
  try {
    // A browser that cannot choose has one loudspeaker only. One that is gone must not keep the tone silent.
    if (speaker !== '' && typeof audio.setSinkId === 'function') await audio.setSinkId(speaker).catch(() => undefined);
    const ended = new Promise<void>((resolve, reject) => {
      audio.onended = () => resolve();
      audio.onerror = () => reject(new Error('the tone cannot be played'));
    });
    await audio.play();
    await ended;
  } finally {
    URL.revokeObjectURL(url);
  }
}

/** Samples from −1 to 1. */
export function tone(): Float32Array {
  const samples = new Float32Array(SAMPLE_RATE * SECONDS);
  const each = samples.length / NOTES_HZ.length;
  for (let i = 0; i < samples.length; i++) {
    const within = i % each;
    // Struck and fading, and silent at both ends, so that nothing clicks.
    const envelope = Math.min(1, within / 480) * Math.exp((-4 * within) / each) * Math.min(1, (each - within) / 480);
    samples[i] = PEAK * envelope * Math.sin((2 * Math.PI * (NOTES_HZ[Math.floor(i / each)] ?? 0) * i) / SAMPLE_RATE);
  }
  return samples;
}

/** As a WAVE file of 16 bits, one channel. */
export function wav(samples: Float32Array): ArrayBuffer {
  const bytes = new ArrayBuffer(44 + 2 * samples.length);
  const view = new DataView(bytes);
  const text = (at: number, chars: string): void => [...chars].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  text(0, 'RIFF');
  view.setUint32(4, bytes.byteLength - 8, true);
  text(8, 'WAVEfmt ');
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, SAMPLE_RATE, true);
  view.setUint32(28, 2 * SAMPLE_RATE, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, 'data');
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((sample, i) => view.setInt16(44 + 2 * i, Math.round(sample * 32_767), true));
  return bytes;
}
