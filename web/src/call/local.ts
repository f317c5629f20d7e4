import type { ReadonlySignal } from '@preact/signals-core';
import type { MediaState } from '../protocol/messages';

export const SEND_KINDS = ['microphone', 'camera', 'screen', 'screenAudio'] as const;
export type SendKind = (typeof SEND_KINDS)[number];

/** What the call takes from the person's devices. `devices/media.ts` provides it, tests have their own. */
export interface LocalTracks {
  readonly tracks: Readonly<Record<SendKind, ReadonlySignal<MediaStreamTrack | null>>>;
  /** What the others are told. */
  readonly state: ReadonlySignal<MediaState>;
}
