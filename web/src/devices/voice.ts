import { signal } from '@preact/signals-core';
import { loudness } from './level';

const LOOK_EVERY_MS = 100;
const SAMPLES = 2048;
/** Louder than room noise, quieter than speech at arm's length. */
const SPEECH = 0.4;
/** Looks with speech, among those of the last second and a half: a cough is shorter. */
const WINDOW = 15;
const SPOKEN = 6;
/** A microphone that gives nothing at all for so long is switched off somewhere, or broken. */
const DEAD_AFTER = 80;
/** Root mean square below which there is not even noise. */
const NOTHING = 1e-5;

export type Verdict = 'fine' | 'muted-speech' | 'dead';

/** From one look at the microphone after the other to what the person should be told. */
export class VoiceJudge {
  private recent: boolean[] = [];
  private silent = 0;
  private verdict: Verdict = 'fine';

  /** `level`: 0 … 1; `rms`: of the samples; `on`: the others could hear it. */
  look(level: number, rms: number, on: boolean): Verdict {
    if (on) {
      this.recent = [];
      this.silent = rms < NOTHING ? this.silent + 1 : 0;
      this.verdict = this.silent >= DEAD_AFTER ? 'dead' : 'fine';
    } else {
      this.silent = 0;
      this.recent = [...this.recent, level > SPEECH].slice(-WINDOW);
      if (this.recent.filter(Boolean).length >= SPOKEN) this.verdict = 'muted-speech';
      else if (this.verdict === 'dead') this.verdict = 'fine';
    }
    return this.verdict;
  }
}

/** Listens to the microphone, on this machine only, for speech while it is off and for silence while it is on. */
export class VoiceWatch {
  readonly verdict = signal<Verdict>('fine');
  private read: Verdict | undefined;
  private stopWatching: (() => void) | undefined;

  /** `null`: no microphone. `on`: whether the others could hear it. */
  watch(track: MediaStreamTrack | null, on: () => boolean): void {
    this.stop();
    if (track === null || typeof AudioContext === 'undefined') return;
    // A copy that stays open while the original gives silence.
    const copy = track.clone();
    copy.enabled = true;
    // Nobody listens to it, so it need not be quick.
    const context = new AudioContext({ latencyHint: 'playback' });
    const analyser = context.createAnalyser();
    analyser.fftSize = SAMPLES;
    context.createMediaStreamSource(new MediaStream([copy])).connect(analyser);
    const samples = new Float32Array(SAMPLES);
    const judge = new VoiceJudge();
    const timer = setInterval(() => {
      // A context that still waits for a click hears nothing, which says nothing.
      if (context.state !== 'running') return;
      analyser.getFloatTimeDomainData(samples);
      const rms = Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / SAMPLES);
      const verdict = judge.look(loudness(samples), rms, on());
      if (verdict !== this.read) this.read = undefined;
      this.verdict.value = this.read === undefined ? verdict : 'fine';
    }, LOOK_EVERY_MS);
    this.stopWatching = () => {
      clearInterval(timer);
      copy.stop();
      void context.close().catch(() => undefined);
    };
  }

  /** The person has read it. */
  acknowledge(): void {
    this.read = this.verdict.value;
    this.verdict.value = 'fine';
  }

  stop(): void {
    this.stopWatching?.();
    this.stopWatching = undefined;
    this.verdict.value = 'fine';
  }
}
