/** Short tones, made by the browser: no file is loaded for them. */

export type Sound = 'joined' | 'left';

/** Frequencies in Hz, one after the other; they rise for who comes and fall for who goes. */
const TONES: Readonly<Record<Sound, readonly number[]>> = {
  joined: [523, 784],
  left: [784, 523],
};
const TONE_S = 0.13;
const VOLUME = 0.08;
/** A crowd that comes together makes one sound. */
const PAUSE_MS = 1_500;

let context: AudioContext | undefined;
let last: { sound: Sound; at_ms: number } | undefined;

/** Where the browser still waits for a click, nothing is heard. */
export function play(sound: Sound): void {
  if (typeof AudioContext === 'undefined') return;
  const now_ms = performance.now();
  if (last?.sound === sound && now_ms - last.at_ms < PAUSE_MS) return;
  last = { sound, at_ms: now_ms };
  context ??= new AudioContext();
  void context.resume().catch(() => undefined);
  let at = context.currentTime + 0.02;
  for (const frequency of TONES[sound]) {
    const oscillator = context.createOscillator();
    const gain = context.createGain();
    oscillator.frequency.value = frequency;
    gain.gain.setValueAtTime(0, at);
    gain.gain.linearRampToValueAtTime(VOLUME, at + 0.02);
    gain.gain.exponentialRampToValueAtTime(0.0001, at + TONE_S);
    oscillator.connect(gain).connect(context.destination);
    oscillator.start(at);
    oscillator.stop(at + TONE_S);
    at += TONE_S;
  }
}
