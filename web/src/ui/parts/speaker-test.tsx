import { useSignal } from '@preact/signals';
import type { JSX } from 'preact';
import type { LocalMedia } from '../../devices/media';
import { playTestTone } from '../../devices/test-tone';
import { words } from '../../i18n/language';
import { SpeakerIcon } from './icons';

/** Plays a tone where the others will be heard. */
export function SpeakerTest({ media }: { media: LocalMedia }): JSX.Element {
  const t = words.value.devices;
  const state = useSignal<'idle' | 'played' | 'failed'>('idle');
  const play = async (): Promise<void> => {
    state.value = 'idle';
    try {
      await playTestTone(media.chosen.speaker.value);
      state.value = 'played';
    } catch {
      state.value = 'failed';
    }
  };
  return (
    <div class="speaker-test">
      <button type="button" class="secondary" onClick={() => void play()}>
        <SpeakerIcon />
        {t.speakerTest}
      </button>
      <p class="advice" role="status">
        {state.value === 'played' ? t.speakerPlayed : state.value === 'failed' ? t.speakerFailed : ''}
      </p>
    </div>
  );
}
